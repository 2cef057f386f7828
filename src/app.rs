//! Wires the parts together; the only file that names concrete stores.
