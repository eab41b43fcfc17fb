// swift-tools-version: 6.1
import Foundation
import PackageDescription

/// Where an LLVM OpenMP runtime lies, or nil: Swift's clang compiles `#pragma omp` but ships no
/// runtime. Debian and Ubuntu put it into a versioned folder, Homebrew under opt.
func openMPLibraryFolder() -> String? {
    let debian = (try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib")) ?? []
    let versions = debian.filter { $0.hasPrefix("llvm-") }
        .sorted { $0.compare($1, options: .numeric) == .orderedDescending }
    let folders =
        versions.map { "/usr/lib/\($0)/lib" }
        + ["/opt/homebrew/opt/libomp/lib", "/usr/local/opt/libomp/lib"]
    return folders.first {
        FileManager.default.fileExists(atPath: $0 + "/libomp.so")
            || FileManager.default.fileExists(atPath: $0 + "/libomp.dylib")
    }
}

/// MMQ_OPENMP=0 builds without threads (as does a machine with no runtime): mmq then says so and
/// runs on one core.
let openMP =
    ProcessInfo.processInfo.environment["MMQ_OPENMP"] == "0" ? nil : openMPLibraryFolder()

// -O3 also in debug builds: SwiftPM would compile C at -O0 there, and the kernel tests would crawl.
// Never -ffast-math: NaN tests and equality between ISAs rest on IEEE rules. -ffp-contract=off: a
// fused multiply-add is written where it is meant, so that every ISA rounds alike.
// Loops begin at a cache line: one of 2,900 bytes took twice as long on Zen 5 where it did not.
var csimdFlags = ["-O3", "-falign-loops=64", "-ffp-contract=off", "-Wall", "-Wextra"]
var openMPLink: [LinkerSetting] = []
if let openMP {
    csimdFlags += ["-fopenmp", "-DCSIMD_OPENMP"]
    openMPLink = [.unsafeFlags(["-L\(openMP)", "-Xlinker", "-rpath", "-Xlinker", openMP])]
    openMPLink += [.linkedLibrary("omp")]
}

// MMQ_SANITIZE=1: undefined behaviour in C ends the program. Its runtime comes with that of
// `swift test --sanitize=address`; Swift has no such option on Linux (see tools/check/sanitized.sh).
let sanitizerFlags =
    ProcessInfo.processInfo.environment["MMQ_SANITIZE"] == "1"
    ? ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"] : []
csimdFlags += sanitizerFlags
// The kernels' unrolled loops with a check at every step take minutes at -O3.
if !sanitizerFlags.isEmpty { csimdFlags[0] = "-O1" }
let otherCFlags = ["-O2", "-Wall", "-Wextra"] + sanitizerFlags

let package = Package(
    name: "mmq",
    platforms: [.macOS(.v14)],
    products: [
        .executable(name: "mmq", targets: ["mmq"]),
        // For Fuzz/, a package of its own; no build of `mmq` makes it.
        .library(
            name: "MMQKit",
            targets: [
                "MMQBase", "MMQFormats", "MMQText", "MMQImage", "MMQModels", "MMQStudy",
                "MMQReport", "MMQExplore",
            ]),
    ],
    dependencies: [
        // The command line: parsing, help, completion.
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        // The study store: SQLite with transactions, migrations and WAL.
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        // JSON objects: members in order and found by key. One module of it, nothing below.
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    ],
    targets: [
        // C kernels: scalar reference, one file per instruction set, run-time dispatch, threads.
        .target(
            name: "CSIMD", path: "CSIMD", cSettings: [.unsafeFlags(csimdFlags)],
            linkerSettings: openMPLink),
        // libjpeg and libpng behind two calls, and zlib's checksums.
        .target(
            name: "CImageCodecs", cSettings: [.unsafeFlags(otherCFlags)],
            linkerSettings: [.linkedLibrary("jpeg"), .linkedLibrary("png"), .linkedLibrary("z")]),

        // Says which mapped file it was when another process shortens one: a signal handler, so C.
        .target(name: "CMappings", cSettings: [.unsafeFlags(otherCFlags)]),
        // The ground floor: one error, JSON, files, stable hash and random numbers, Python's text
        // rules.
        .target(
            name: "MMQBase",
            dependencies: [
                "CMappings", .product(name: "OrderedCollections", package: "swift-collections"),
            ]),
        .target(name: "MMQFormats", dependencies: ["CSIMD", "MMQBase"]),
        .target(name: "MMQText", dependencies: ["MMQBase"]),
        .target(name: "MMQImage", dependencies: ["CImageCodecs", "CSIMD", "MMQBase"]),
        .target(
            name: "MMQModels",
            dependencies: ["CSIMD", "MMQFormats", "MMQText", "MMQImage", "MMQBase"]),
        .target(
            name: "MMQStudy",
            dependencies: [
                "MMQModels", "MMQFormats", "MMQImage", "MMQText", "MMQBase",
                .product(name: "GRDB", package: "GRDB.swift"),
            ]),
        // A study as one page.
        .target(
            name: "MMQReport",
            dependencies: [
                "MMQStudy", "MMQModels", "MMQFormats", "MMQImage", "MMQBase",
            ],
            // In the binary, so that it stands alone.
            resources: [
                .embedInCode("Resources/report.css"), .embedInCode("Resources/report.js"),
            ]),
        // A model to play with, in a browser.
        .target(
            name: "MMQExplore",
            dependencies: [
                "MMQReport", "MMQStudy", "MMQModels", "MMQImage", "MMQText", "MMQBase",
            ],
            resources: [
                .embedInCode("Resources/explore.html"), .embedInCode("Resources/explore.css"),
                .embedInCode("Resources/explore.js"), .embedInCode("Resources/icon.svg"),
            ]),
        .executableTarget(
            name: "mmq",
            dependencies: [
                "MMQExplore", "MMQReport", "MMQStudy", "MMQModels", "MMQFormats", "MMQImage",
                "MMQText",
                "MMQBase", "CSIMD",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            resources: [.embedInCode("Resources/VERSION")]),

        // Test support: golden loader, tolerances, seeded numbers. A target so that all tests share it.
        .target(
            name: "Support", dependencies: ["MMQFormats", "MMQBase", "CImageCodecs"],
            path: "Tests/Support"),
        .testTarget(name: "CSIMDTests", dependencies: ["CSIMD", "Support"]),
        .testTarget(name: "MMQBaseTests", dependencies: ["MMQBase", "Support"]),
        .testTarget(name: "MMQFormatsTests", dependencies: ["MMQFormats", "Support"]),
        .testTarget(name: "MMQTextTests", dependencies: ["MMQText", "Support"]),
        .testTarget(name: "MMQImageTests", dependencies: ["MMQImage", "Support"]),
        .testTarget(name: "MMQModelsTests", dependencies: ["MMQModels", "Support"]),
        // A study of a small golden model, for the tests of studies and of their reports.
        .target(
            name: "StudySupport", dependencies: ["MMQStudy", "MMQModels", "MMQBase", "Support"],
            path: "Tests/StudySupport"),
        .testTarget(name: "MMQStudyTests", dependencies: ["MMQStudy", "Support", "StudySupport"]),
        .testTarget(
            name: "MMQReportTests",
            dependencies: ["MMQReport", "MMQStudy", "Support", "StudySupport"]),
        .testTarget(
            name: "MMQExploreTests",
            dependencies: ["MMQExplore", "MMQStudy", "MMQModels", "MMQBase", "Support"]),
        // Runs the built binary: exit codes, what goes to stdout and what to stderr, help.
        .testTarget(name: "CommandTests", dependencies: ["mmq", "MMQFormats", "Support"]),
    ],
    swiftLanguageModes: [.v6]
)
