//! The signed statement of minutes: who was there, how long, by which mode, with which incidents. No names, no content.
//!
//! A compact JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037), so that a clinic verifies it with any JOSE library, or with
//! openssl alone. The payload is the statement as JSON; the bytes that are signed travel in the JWS themselves, so that
//! nothing depends on how somebody writes JSON. For a finished consultation it is the same every time it is asked for.
//!
//! Not here: the key file (`store::head_key`), what is counted (`timeline`).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::control::clinics::sha256;
use crate::store::HeadKey;

use super::document::{Authentication, RecordStatus, TimeByMode};

/// What the server states of a consultation. Times are RFC 3339 in UTC.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Version of this form.
    #[schema(minimum = 1, maximum = 1)]
    pub version: u8,
    /// Which server states it: where its pages and API are.
    pub issuer: String,
    /// Random identifier of the clinic.
    pub clinic: String,
    /// Random identifier of the consultation.
    pub consultation: String,
    /// Act, by name.
    pub act: String,
    /// Where the consultation is.
    pub status: RecordStatus,
    /// When somebody was in the room first.
    pub started_at: Option<String>,
    /// When the consultation was ended for good.
    pub ended_at: Option<String>,
    /// When somebody was in the room last; everything is counted up to here.
    pub counted_until: Option<String>,
    /// From `started_at` to `counted_until`.
    #[schema(minimum = 0)]
    pub duration_seconds: i64,
    /// Professionals and patient's side in the room together.
    pub with_patient: TimeByMode,
    /// Professionals among themselves.
    pub between_professionals: TimeByMode,
    /// Who was in the room.
    pub participants: Vec<StatedParticipant>,
    /// Technical incidents in the room, by cause.
    pub incidents: BTreeMap<String, u32>,
    /// Attempts to join that failed, by cause.
    pub failed_joins: BTreeMap<String, u32>,
    /// Whether the journal still holds every entry of the consultation. False when its older ones were removed by retention.
    pub complete: bool,
    /// The journal's entry up to which this was read, with its link in the hash chain; nothing when there is none.
    pub journal: Option<JournalMark>,
}

/// A participant, without a name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatedParticipant {
    /// Random identifier of the seat.
    pub seat: String,
    /// Function.
    pub role: String,
    /// How it was proved who sat there.
    pub authentication: Authentication,
    /// Assurance level, when the person logged in.
    pub level: Option<String>,
    /// Connected in the room.
    #[schema(minimum = 0)]
    pub present_seconds: i64,
}

/// A place in the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalMark {
    /// Cursor of the last entry of the consultation.
    pub cursor: i64,
    /// Its hash in the chain, hexadecimal.
    pub hash: String,
}

/// A server's public key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey(pub [u8; 32]);

/// Why a statement is not to be believed, or could not be judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Doubt {
    /// Neither a record, nor a statement.
    #[error("this is neither a record with a signed statement nor a statement alone")]
    NoStatement,
    /// Not a compact JWS of the one kind that is used.
    #[error("the statement is not a compact JWS with EdDSA")]
    Form,
    /// Signed by a key that was not given.
    #[error("the statement names another key: is this the server that made it?")]
    OtherKey,
    /// Signature and payload do not belong together.
    #[error("the signature does not fit: the statement was changed, or never made by this server")]
    Signature,
    /// What is shown beside the signature is not what was signed.
    #[error("the statement is genuine, but what the record shows beside it is not what was signed")]
    Shown,
    /// Genuine, and of a form that this version does not know.
    #[error("the signature is genuine, but the statement is of a newer form: verify it with a newer version")]
    Newer,
    /// Keys in no form that is known.
    #[error("the key is neither a JSON Web Key Set with an Ed25519 key nor a public key in PEM")]
    Key,
}

impl Statement {
    /// Signs it: a compact JWS.
    #[must_use]
    pub fn sign(&self, key: &HeadKey) -> String {
        let header = json!({ "alg": ALGORITHM, "kid": PublicKey(key.public_key()).kid(), "typ": TYPE });
        let payload = serde_json::to_vec(self).expect("a statement is plain data");
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// Reads a statement that one of these keys has signed. Nothing of it is believed before.
    pub fn verify(jws: &str, keys: &[PublicKey]) -> Result<(Statement, PublicKey), Doubt> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            kid: String,
        }
        let (signed, signature) = jws.trim().rsplit_once('.').ok_or(Doubt::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(Doubt::Form)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Doubt::Form);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Doubt::Form)?;
        if header.alg != ALGORITHM {
            return Err(Doubt::Form);
        }
        let key = keys.iter().find(|key| key.kid() == header.kid).ok_or(Doubt::OtherKey)?;
        if !HeadKey::verifies(&key.0, signed.as_bytes(), &decode(signature)?) {
            return Err(Doubt::Signature);
        }
        let statement = serde_json::from_slice(&decode(payload)?).map_err(|_| Doubt::Newer)?;
        Ok((statement, key.clone()))
    }

    /// Verifies a file: a record as the API gave it, whose shown statement must then be the signed one, or a JWS alone.
    pub fn verify_file(text: &str, keys: &[PublicKey]) -> Result<(Statement, PublicKey), Doubt> {
        #[derive(Deserialize)]
        struct Shown {
            statement: Statement,
            signed_statement: String,
        }
        let text = text.trim();
        if text.starts_with('{') {
            let shown: Shown = serde_json::from_str(text).map_err(|_| Doubt::NoStatement)?;
            let (signed, key) = Self::verify(&shown.signed_statement, keys)?;
            return if signed == shown.statement { Ok((signed, key)) } else { Err(Doubt::Shown) };
        }
        let parts = text.split('.').count();
        if parts == 3 { Self::verify(text, keys) } else { Err(Doubt::NoStatement) }
    }
}

impl PublicKey {
    /// Its name: the thumbprint of RFC 7638.
    #[must_use]
    pub fn kid(&self) -> String {
        let canonical = format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{}\"}}", self.x());
        URL_SAFE_NO_PAD.encode(sha256(canonical.as_bytes()))
    }

    /// As a JSON Web Key (RFC 8037).
    #[must_use]
    pub fn to_jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: self.x(),
            kid: self.kid(),
            usage: "sig".to_owned(),
            alg: ALGORITHM.to_owned(),
        }
    }

    /// As openssl reads it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let der = [&SPKI_ED25519[..], &self.0].concat();
        format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(der))
    }

    /// Reads a key set, a single JSON Web Key, or PEM.
    pub fn read(text: &str) -> Result<Vec<PublicKey>, Doubt> {
        let text = text.trim();
        if let Some(body) = text.strip_prefix(PEM_BEGIN).and_then(|rest| rest.strip_suffix(PEM_END)) {
            let body: String = body.split_whitespace().collect();
            let der = STANDARD.decode(body).map_err(|_| Doubt::Key)?;
            let key = der.strip_prefix(&SPKI_ED25519[..]).and_then(|key| key.try_into().ok());
            return Ok(vec![PublicKey(key.ok_or(Doubt::Key)?)]);
        }
        let jwks: Vec<Jwk> = match serde_json::from_str::<Jwks>(text) {
            Ok(set) => set.keys,
            Err(_) => vec![serde_json::from_str(text).map_err(|_| Doubt::Key)?],
        };
        let keys: Vec<PublicKey> = jwks.iter().filter_map(PublicKey::from_jwk).collect();
        if keys.is_empty() { Err(Doubt::Key) } else { Ok(keys) }
    }

    fn from_jwk(jwk: &Jwk) -> Option<PublicKey> {
        let is_ours = jwk.kty == "OKP" && jwk.crv == "Ed25519";
        let bytes = URL_SAFE_NO_PAD.decode(&jwk.x).ok()?;
        is_ours.then_some(PublicKey(bytes.try_into().ok()?))
    }

    fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// `GET /v1/keys`: a JSON Web Key Set (RFC 7517).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Jwks {
    /// The keys with which statements and the journal's ends are signed.
    pub keys: Vec<Jwk>,
}

/// A JSON Web Key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Jwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    #[serde(default)]
    pub crv: String,
    /// The public key, base64url.
    #[serde(default)]
    pub x: String,
    /// Its thumbprint (RFC 7638), as in a statement's header.
    #[serde(default)]
    pub kid: String,
    /// `sig`.
    #[serde(rename = "use", default)]
    pub usage: String,
    /// `EdDSA`.
    #[serde(default)]
    pub alg: String,
}

/// RFC 8037. RFC 9864 prefers `Ed25519`, which fewer libraries know yet.
const ALGORITHM: &str = "EdDSA";
/// Media type of the JWS, without `application/`.
const TYPE: &str = "colloque-statement+jws";
/// SubjectPublicKeyInfo of an Ed25519 key, up to the key (RFC 8410 section 4).
const SPKI_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> (HeadKey, std::path::PathBuf) {
        let dir = std::env::temp_dir().join(format!("colloque-statement-{:x}", rand::random::<u64>()));
        std::fs::create_dir_all(&dir).unwrap();
        (HeadKey::open(&dir).unwrap(), dir)
    }

    fn statement() -> Statement {
        Statement {
            version: 1,
            issuer: "https://colloque.example".into(),
            clinic: "clinic".into(),
            consultation: "consultation".into(),
            act: "teleconsultation".into(),
            status: RecordStatus::Finished,
            started_at: Some("2026-03-01T09:30:00Z".into()),
            ended_at: Some("2026-03-01T09:50:00Z".into()),
            counted_until: Some("2026-03-01T09:50:00Z".into()),
            duration_seconds: 1_200,
            with_patient: TimeByMode::default(),
            between_professionals: TimeByMode::default(),
            participants: vec![StatedParticipant {
                seat: "seat".into(),
                role: "patient".into(),
                authentication: Authentication::Link,
                level: None,
                present_seconds: 7,
            }],
            incidents: BTreeMap::from([("connection_lost".into(), 1)]),
            failed_joins: BTreeMap::new(),
            complete: true,
            journal: Some(JournalMark { cursor: 4, hash: "00".into() }),
        }
    }

    #[test]
    fn a_signed_statement_verifies_by_every_form_of_its_key() {
        let (key, dir) = key();
        let public = PublicKey(key.public_key());
        let jws = statement().sign(&key);
        assert_eq!(jws, statement().sign(&key), "the same statement is the same signature");
        let set = serde_json::to_string(&Jwks { keys: vec![public.to_jwk()] }).unwrap();
        let single = serde_json::to_string(&public.to_jwk()).unwrap();
        for form in [set, single, public.to_pem()] {
            let keys = PublicKey::read(&form).unwrap();
            assert_eq!(Statement::verify(&jws, &keys), Ok((statement(), public.clone())));
        }
        let record = json!({ "statement": statement(), "signed_statement": jws, "other": [1] }).to_string();
        assert!(Statement::verify_file(&record, std::slice::from_ref(&public)).is_ok());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn no_changed_bit_verifies() {
        let (key, dir) = key();
        let keys = [PublicKey(key.public_key())];
        let jws = statement().sign(&key);
        for index in 0..jws.len() {
            for flip in [1, 2, 32] {
                let mut bytes = jws.clone().into_bytes();
                bytes[index] ^= flip;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(Statement::verify(&changed, &keys).is_err(), "{index} {flip}");
            }
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_genuine_statement_of_a_newer_form_is_not_called_a_forgery() {
        let (key, dir) = key();
        let public = PublicKey(key.public_key());
        let header = json!({ "alg": "EdDSA", "kid": public.kid() }).to_string();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{\"version\":2}"));
        let jws = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())));
        assert_eq!(Statement::verify(&jws, &[public]), Err(Doubt::Newer));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_shown_must_be_what_was_signed() {
        let (key, dir) = key();
        let keys = [PublicKey(key.public_key())];
        let jws = statement().sign(&key);
        let shown = Statement { duration_seconds: 9_999, ..statement() };
        let record = json!({ "statement": shown, "signed_statement": jws }).to_string();
        assert_eq!(Statement::verify_file(&record, &keys), Err(Doubt::Shown));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn another_key_or_another_algorithm_is_refused() {
        let ((key, dir), (other, other_dir)) = (key(), self::key());
        let keys = [PublicKey(key.public_key())];
        assert_eq!(Statement::verify(&statement().sign(&other), &keys), Err(Doubt::OtherKey));
        let jws = statement().sign(&key);
        let (_, rest) = jws.split_once('.').unwrap();
        for alg in ["none", "HS256", "ES256"] {
            let header = json!({ "alg": alg, "kid": keys[0].kid() }).to_string();
            let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(Statement::verify(&forged, &keys), Err(Doubt::Form), "{alg}");
        }
        for nonsense in ["", "a.b", "a.b.c", "{}", "...", "{\"statement\": 3}"] {
            assert!(Statement::verify_file(nonsense, &keys).is_err(), "{nonsense}");
        }
        for nonsense in ["", "{}", "{\"keys\": []}", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"] {
            assert_eq!(PublicKey::read(nonsense), Err(Doubt::Key), "{nonsense}");
        }
        std::fs::remove_dir_all(dir).unwrap();
        std::fs::remove_dir_all(other_dir).unwrap();
    }

    /// RFC 8037 appendix A.3: the thumbprint of its example key.
    #[test]
    fn the_key_is_named_by_its_thumbprint() {
        let jwk = "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}";
        let keys = PublicKey::read(jwk).unwrap();
        assert_eq!(keys[0].kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
