import CSIMD
import Foundation
import Support
import Testing

/// Instruction sets that this build has.
let builtISAs: [String] = {
    var names: [String] = []
    while let name = csimd_isa_name(Int32(names.count)) { names.append(String(cString: name)) }
    return names
}()

/// Those of them that this CPU and OS run; "scalar" is always there.
let supportedISAs = builtISAs.filter { csimd_isa_supported($0) }

private let missingISAs = builtISAs.filter { !supportedISAs.contains($0) }

@Suite struct InstructionSetTests {
    @Test func scalarIsAlwaysThere() {
        #expect(supportedISAs.contains("scalar"))
        #expect(supportedISAs.count > 1, "only the scalar kernels run on this machine")
    }

    /// The kernel tests go over the sets that run here; what they leave out is said here.
    @Test(
        .enabled(
            if: missingISAs.isEmpty,
            """
            NOT RUN on this CPU: \(missingISAs.joined(separator: ", ")); \
            tools/check leaves-avx512 and leaves-arm check them on emulated ones
            """))
    func everyInstructionSetRuns() {}
}

/// Runs `body` once under every supported instruction set, on `threads` threads; no other test that
/// goes through here runs meanwhile.
func forEachISA(threads: Int32 = 1, _ body: (String) throws -> Void) rethrows {
    for isa in supportedISAs {
        try withKernels(isa: isa, threads: threads) { try body(isa) }
    }
}

/// Runs `body` under one instruction set and number of threads.
func withKernels<Result>(isa: String, threads: Int32, _ body: () throws -> Result) rethrows
    -> Result
{
    kernelSettings.lock()
    let before = String(cString: csimd_isa())
    let threadsBefore = csimd_threads()
    defer {
        csimd_select_isa(before)
        csimd_set_threads(threadsBefore)
        kernelSettings.unlock()
    }
    precondition(csimd_select_isa(isa), "\(isa) is not supported here")
    csimd_set_threads(threads)
    return try body()
}

extension Array where Element == Float {
    /// What "identical to the bit" compares.
    var bits: [UInt32] { map(\.bitPattern) }
}

/// Half of the distance between 1 and the next Float: one rounding's relative error.
let roundingError = Double(Float.ulpOfOne) / 2

/// Gathers the failures of loops of thousands of checks: a broken kernel is reported once, with the
/// first place, and arrays are not printed.
struct Checks {
    private var failures = 0
    private var first = ""

    /// `ok` must hold (so that a NaN fails, write what is wanted, never `!(error > bound)`).
    mutating func expect(_ ok: Bool, _ what: @autoclosure () -> String = "") {
        if ok { return }
        if failures == 0 { first = what() }
        failures += 1
    }

    /// Fails the test if any check failed.
    func report(sourceLocation: SourceLocation = #_sourceLocation) {
        if failures > 0 {
            Issue.record(
                "\(failures) checks failed, the first: \(first)", sourceLocation: sourceLocation)
        }
    }
}
