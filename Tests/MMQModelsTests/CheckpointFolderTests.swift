import Foundation
import MMQBase
import MMQImage
import Support
import Testing

@testable import MMQModels

/// Which of a checkpoint's files holds the picture processor's settings, as transformers 5 decides.
@Suite struct CheckpointFolderTests {
    let folder: TemporaryFolder
    private let blip = #"""
        {"image_processor_type": "BlipImageProcessor", "size": {"height": 224, "width": 224},
         "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.25, 0.5]}
        """#

    init() throws { folder = try TemporaryFolder() }

    private func read() throws -> (json: [UInt8], file: String) {
        try CheckpointFolder(path: folder.path).imageProcessor()
    }

    /// The size of the pictures by the settings of the file that counts.
    private func size() throws -> PixelSize {
        let (json, file) = try read()
        return try SquashImageConfig.parse(json: json, file: file, kind: "BlipImageProcessor").size
    }

    private func nested(_ side: Int) -> String {
        #"{"image_processor": "# + blip.replacing("224", with: "\(side)") + "}"
    }

    private func expectUnreadable() {
        let error = #expect(throws: InputError.self) { try read() }
        #expect(error?.code == .unreadable)
        #expect(error?.file == folder.path)
        #expect(error?.expected?.contains("preprocessor_config.json") == true)
    }

    @Test func theFileThatTransformersTakes() throws {
        expectUnreadable()

        // As on the hub: the settings are flat, and the other file is about tokens.
        try folder.write("preprocessor_config.json", text: blip)
        try folder.write("processor_config.json", text: #"{"num_query_tokens": 32}"#)
        #expect(try size() == PixelSize(height: 224, width: 224))
        #expect(try read().file == folder("preprocessor_config.json"))

        // Both are there: the nested settings count.
        try folder.write("processor_config.json", text: nested(28))
        #expect(try size() == PixelSize(height: 28, width: 28))
        #expect(try read().file == folder("processor_config.json"))

        // Also where they are of no use.
        try folder.write("processor_config.json", text: #"{"image_processor": {"size": "small"}}"#)
        let error = #expect(throws: InputError.self) { try size() }
        #expect(error?.item == "image_processor.size")
        #expect(error?.file == folder("processor_config.json"))
        for value in ["{}", "3", "[]", #""""#, "false"] {
            try folder.write("processor_config.json", text: #"{"image_processor": \#(value)}"#)
            #expect(try read().file == folder("processor_config.json"), "\(value)")
        }
    }

    /// null is as if the key were not there: `if image_processor_dict is None` in
    /// `ImageProcessingMixin.get_image_processor_dict`.
    @Test func nullIsNoSettings() throws {
        try folder.write("processor_config.json", text: #"{"image_processor": null}"#)
        expectUnreadable()
        try folder.write("preprocessor_config.json", text: blip)
        #expect(try size() == PixelSize(height: 224, width: 224))
        #expect(try read().file == folder("preprocessor_config.json"))
    }

    @Test func aFileThatIsNoJSONIsNamed() throws {
        try folder.write("preprocessor_config.json", text: blip)
        try folder.write("processor_config.json", text: "{")
        let error = #expect(throws: InputError.self) { try read() }
        #expect(error?.file == folder("processor_config.json"))
    }
}
