//! End to end: the real kernel, the real daemon, outages measured from the far side.
