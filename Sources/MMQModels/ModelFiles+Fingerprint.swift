import MMQBase

extension ModelFiles {
    /// Identifies the model: a hash of all metadata but the name (settings, tokenizer, the digest of
    /// every weight that `convert` left), of the tensors' names, types and shapes, and of a few bytes
    /// from the middle of each, for files without a digest. A file of gigabytes is not read for it.
    /// What activations are rounded to stands at its end where it is not int8, and whose pictures
    /// it takes where they are not those of today.
    var fingerprint: String {
        var hash = StableHash()
        for file in [language, vision] {
            for (key, value) in file.metadata.members
            where key != "general.name" && key != Activations.key {
                hash.add(key.utf8)
                hash.add(value.encoded)
            }
            for tensor in file.tensors {
                hash.add("\(tensor.name) \(tensor.type.name) \(tensor.shape)".utf8)
                guard let bytes = try? file.bytes(tensor) else { continue }
                hash.add(bytes[(bytes.count / 2)...].prefix(64))
            }
        }
        return Architectures.fingerprint(of: model.architecture, hash: hash) + activations.mark
            + compatibility.mark
    }
}
