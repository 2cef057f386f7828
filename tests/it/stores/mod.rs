//! The stores outside the process: one contract, and each one's own faults.

mod contract;
