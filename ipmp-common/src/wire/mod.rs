//! Bounded, panic-free parsers and builders; shared by the eBPF programs, the daemon and the fuzz targets.
//! They never allocate.
