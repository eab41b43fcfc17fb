import Foundation
import MMQBase

/// The target that MMQ_FUZZ names. libFuzzer calls from one thread.
nonisolated(unsafe) private let target: Target = {
    let name = ProcessInfo.processInfo.environment["MMQ_FUZZ"] ?? ""
    guard let make = Targets.all[name] else {
        let names = Targets.all.keys.sorted().joined(separator: ", ")
        FileHandle.standardError.write(Data("MMQ_FUZZ is one of \(names)\n".utf8))
        exit(2)
    }
    do {
        return try make()
    } catch {
        fatalError("\(name) cannot be set up: \(error)")
    }
}()

/// Called once by libFuzzer. With MMQ_FUZZ_SEEDS the target's seeds are written into that folder and
/// the process ends; with MMQ_FUZZ=list the targets' names are printed.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(
    _ count: UnsafeMutablePointer<Int32>?,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>?
) -> Int32 {
    let variables = ProcessInfo.processInfo.environment
    if variables["MMQ_FUZZ"] == "list" {
        print(Targets.all.keys.sorted().joined(separator: "\n"))
        exit(0)
    }
    if let folder = variables["MMQ_FUZZ_SEEDS"] {
        do {
            for seed in try target.seeds() {
                try Scratch.write(seed.bytes, to: folder + "/" + seed.name)
            }
        } catch {
            fatalError("the seeds cannot be written: \(error)")
        }
        exit(0)
    }
    _ = target
    return 0
}

/// One input: whatever it holds, nothing but an `InputError` may come of it, in 2 s. Of processor time:
/// libFuzzer's own limit goes by the clock, and a busy machine by nobody's.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let input = Array(UnsafeBufferPointer(start: bytes, count: count))
    let begun = processorSeconds()
    attempt { try target.run(input) }
    let seconds = processorSeconds() - begun
    precondition(seconds <= 2, "\(count) bytes took \(seconds) s of processor time")
    return 0
}

private func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Runs `work`. An `InputError` is as it should be, if it names a file and is short; anything else
/// is a finding.
func attempt(_ work: () throws -> Void) {
    do {
        try work()
    } catch let error as InputError {
        check(error)
    } catch {
        fatalError("not an InputError: \(type(of: error)): \(error)")
    }
}

/// An error's text: it names something, stays short and has nothing that a terminal would obey once
/// it is shown.
func check(_ error: InputError) {
    let text = error.description
    precondition(
        text.utf8.count < 4096, "an error of \(text.utf8.count) bytes: \(text.prefix(300))")
    precondition(!error.file.isEmpty, "an error that names no file: \(text)")
    precondition(
        !shown(text).unicodeScalars.contains { $0.isUnruly && $0 != "\n" && $0 != "\t" },
        "a terminal would obey \(text.debugDescription)")
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ run: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

/// SwiftPM makes this the program's `main`: libFuzzer's own is the same.
@_cdecl("Fuzz_main")
public func fuzzMain(
    _ count: Int32, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> Int32 {
    var count = count
    var arguments = arguments
    return runDriver(&count, &arguments, testOneInput)
}
