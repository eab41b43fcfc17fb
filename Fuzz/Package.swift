// swift-tools-version: 6.1
import PackageDescription

// A package of its own, so that nobody's build pays for it: `make fuzz` builds and runs it, with
// the flags that libFuzzer needs (see tools/check/fuzz.py). SwiftPM tells packages apart by the
// names of their folders: the clone's must not be "fuzz" too.
let package = Package(
    name: "Fuzz", platforms: [.macOS(.v14)],
    dependencies: [
        .package(name: "mmq", path: ".."),
        // To damage the rows of a study before mmq reads them.
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    ],
    targets: [
        .executableTarget(
            name: "Fuzz",
            dependencies: [
                .product(name: "MMQKit", package: "mmq"),
                .product(name: "GRDB", package: "GRDB.swift"),
            ])
    ],
    swiftLanguageModes: [.v6]
)
