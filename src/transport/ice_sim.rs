//! The simulation's far side of ICE: a full agent's connectivity checks (RFC 8445 section 7.2.2), attribute by attribute.
//!
//! For tests here and in `tests/`; nothing in production builds checks, because a lite agent never sends any.

use super::stun::{
    BINDING_REQUEST, BINDING_SUCCESS, ICE_CONTROLLED, ICE_CONTROLLING, Message, NETWORK_COST, PRIORITY, TransactionId,
    USE_CANDIDATE, USERNAME, Writer, integrity_key,
};

/// A check to be built. The fields are what a test may want to vary.
#[derive(Clone, Debug)]
pub struct SimCheck {
    /// `receiver:sender` user name fragments.
    pub username: String,
    /// The receiver's password.
    pub password: String,
    /// Must differ from check to check.
    pub transaction: TransactionId,
    /// Whether to carry USE-CANDIDATE.
    pub nominates: bool,
    /// Whether to claim the wrong role.
    pub controlled: bool,
    /// An attribute of this type to add.
    pub extra: Option<u16>,
}

impl SimCheck {
    /// A check without USE-CANDIDATE. `transaction` becomes the transaction id.
    #[must_use]
    pub fn new(username: &str, password: &str, transaction: u64) -> Self {
        let mut id = [0; 12];
        id[..8].copy_from_slice(&transaction.to_be_bytes());
        Self {
            username: username.into(),
            password: password.into(),
            transaction: id,
            nominates: false,
            controlled: false,
            extra: None,
        }
    }

    /// Adds USE-CANDIDATE.
    #[must_use]
    pub fn nominating(mut self) -> Self {
        self.nominates = true;
        self
    }

    /// The datagram.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut out = [0; 1024];
        let mut writer = Writer::new(&mut out, BINDING_REQUEST, &self.transaction);
        writer.attribute(USERNAME, self.username.as_bytes());
        writer.attribute(NETWORK_COST, &[0, 1, 0, 10]);
        let role = if self.controlled { ICE_CONTROLLED } else { ICE_CONTROLLING };
        writer.attribute(role, &[1, 2, 3, 4, 5, 6, 7, 8]);
        if self.nominates {
            writer.attribute(USE_CANDIDATE, &[]);
        }
        writer.attribute(PRIORITY, &[0x6e, 0, 0x1e, 0xff]);
        if let Some(kind) = self.extra {
            writer.attribute(kind, &[7; 3]);
        }
        let len = writer.finish(&integrity_key(&self.password));
        out[..len].to_vec()
    }

    /// Whether `datagram` is the success response to this check.
    #[must_use]
    pub fn is_answered_by(&self, datagram: &[u8]) -> bool {
        Message::parse(datagram)
            .is_some_and(|message| message.kind == BINDING_SUCCESS && message.transaction == self.transaction)
    }
}
