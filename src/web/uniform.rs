//! Tables whose keys are uniform already.

use std::hash::{BuildHasherDefault, Hasher};

/// Passes a key's uniform bytes through. Not for keys that a stranger can choose: of a session, say, the
/// key is the hash of a random id that only a sealed cookie carries.
#[derive(Debug, Default, Clone, Copy)]
pub struct UniformHasher(u64);

impl Hasher for UniformHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Builds tables keyed so.
pub type UniformState = BuildHasherDefault<UniformHasher>;
