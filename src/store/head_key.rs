//! The server's own Ed25519 key, in a file beside the store: signs the ends of the journal's chain and statements of minutes.
//!
//! It lies outside the database, so that whoever can only write there cannot sign another journal. Made at the first start;
//! losing it makes nothing unreadable, but what it signed can then be proved with the published public key alone.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::StoreError;

/// File name inside the data directory.
pub const KEY_FILE_NAME: &str = "signing-key";

/// Signs in the server's name.
pub struct HeadKey(Ed25519KeyPair);

impl HeadKey {
    /// Reads the key of a data directory; makes it (PKCS#8, for this user only) when there is none.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(KEY_FILE_NAME);
        match std::fs::read(&path) {
            Ok(bytes) => Self::from_pkcs8(&bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::make(&path),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The Ed25519 signature over these bytes.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }

    /// The public key, 32 bytes (RFC 8032).
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        key
    }

    /// Whether this key, by its public half, made the signature over these bytes.
    #[must_use]
    pub fn verifies(public_key: &[u8; 32], bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, public_key).verify(bytes, signature).is_ok()
    }

    fn from_pkcs8(bytes: &[u8]) -> Result<Self, StoreError> {
        let refused =
            |_| StoreError { operation: "read signing-key", cause: "not an Ed25519 key in PKCS#8".to_owned() };
        Ed25519KeyPair::from_pkcs8(bytes).map(Self).map_err(refused)
    }

    /// Written whole under another name, then linked: of two processes that start at once one key wins, and a crash leaves
    /// no half of one.
    fn make(path: &Path) -> Result<Self, StoreError> {
        let unmade = |_| StoreError { operation: "make signing-key", cause: "no random bytes".to_owned() };
        let fresh = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(unmade)?;
        let draft = path.with_extension(format!("{:016x}", rand::random::<u64>()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .map_err(|error| failed(&error))?;
        let written = file.write_all(fresh.as_ref()).and_then(|()| file.sync_all());
        let linked = written.and_then(|()| match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => std::fs::File::open(path.parent().unwrap_or(path)).and_then(|folder| folder.sync_all()),
        });
        std::fs::remove_file(&draft).ok();
        linked.map_err(|error| failed(&error))?;
        Self::from_pkcs8(&std::fs::read(path).map_err(|error| failed(&error))?)
    }
}

fn failed(error: &std::io::Error) -> StoreError {
    StoreError { operation: "open signing-key", cause: error.kind().to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::testing::TempDir;
    use super::*;

    #[test]
    fn the_key_is_made_once_for_this_user_only() {
        let dir = TempDir::new();
        let first = HeadKey::open(dir.path()).unwrap();
        let second = HeadKey::open(dir.path()).unwrap();
        assert_eq!(first.public_key(), second.public_key());
        let mode = std::fs::metadata(dir.path().join(KEY_FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
        let signature = first.sign(b"head");
        assert!(HeadKey::verifies(&second.public_key(), b"head", &signature));
        assert!(!HeadKey::verifies(&second.public_key(), b"heap", &signature));
    }

    #[test]
    fn a_damaged_key_is_an_error_and_is_not_replaced() {
        let dir = TempDir::new();
        std::fs::write(dir.path().join(KEY_FILE_NAME), b"nonsense").unwrap();
        assert!(HeadKey::open(dir.path()).is_err());
        assert_eq!(std::fs::read(dir.path().join(KEY_FILE_NAME)).unwrap(), b"nonsense");
    }
}
