//! The key under which PINs are hashed, so that a seat is found by its PIN without comparing PINs: what a look-up takes tells nothing
//! of how many digits were right.
//!
//! It lies in the store itself, because all servers on one store have to find the same seats. It protects the time that a look-up takes,
//! not the PINs: these stand beside it, for invitations.

use aws_lc_rs::hmac;

use super::engine::{Connection, values};

/// Hashes PINs.
pub(super) struct PinKey(hmac::Key);

impl PinKey {
    /// Reads the key, makes it when there is none, and hashes the PINs of seats from before it. One transaction.
    pub(super) async fn open(on: &mut Connection) -> Result<Self, sqlx::Error> {
        on.begin().await?;
        let fresh = rand::random::<[u8; 32]>();
        let sql = "INSERT INTO secrets (name, value) VALUES ('pin', $1) ON CONFLICT DO NOTHING";
        on.execute(sql, values![fresh.as_slice()]).await?;
        let row = on.fetch_one("SELECT value FROM secrets WHERE name = 'pin'", Vec::new()).await?;
        let key = Self(hmac::Key::new(hmac::HMAC_SHA256, &row.read::<Vec<u8>>("value")?));
        for row in on.fetch_all("SELECT id, pin FROM seats WHERE pin_hash IS NULL", Vec::new()).await? {
            let hash = key.hash(&row.text("pin")?);
            on.execute("UPDATE seats SET pin_hash = $1 WHERE id = $2", values![hash.as_slice(), row.text("id")?])
                .await?;
        }
        on.execute("COMMIT", Vec::new()).await?;
        Ok(key)
    }

    pub(super) fn hash(&self, pin: &str) -> Vec<u8> {
        hmac::sign(&self.0, pin.as_bytes()).as_ref().to_vec()
    }
}
