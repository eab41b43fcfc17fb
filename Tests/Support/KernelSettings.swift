import Foundation

/// The kernels' instruction set and number of threads belong to the process, and tests run side by
/// side. Whoever switches them holds this; so does who compares passes bit by bit.
public let kernelSettings = NSLock()
