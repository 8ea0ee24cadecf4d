//! What an OpenID provider's signed answer is worth: the ID token (OpenID Connect Core 1.0 section 3.1.3.7) and signed user info
//! (section 5.3.2), checked against the provider's published keys.
//!
//! Pure but for the library's clock. The key decides which algorithm may be used, not the token: symmetric ones and `none` are in
//! no list, so that a public key never serves as a secret. Fetching keys is `provider`'s.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header, get_current_timestamp};
use serde_json::{Map, Value};

/// Claims by name.
pub(super) type Claims = Map<String, Value>;

/// What an ID token must say to be for us, now, and for this login.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// Given out beside the ID token.
    pub(super) access_token: &'a str,
}

/// Why a signed answer is not believed. Texts name a rule, never a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// Signed by a key that is not among those: perhaps a newer one.
    UnknownKey,
    /// Anything else.
    Refused(&'static str),
}

/// The claims of an ID token that passes every check.
pub(super) fn read_id_token(token: &str, keys: &[Jwk], expected: &Expected<'_>) -> Result<Claims, Fault> {
    let (header, key) = signing_key(token, keys)?;
    let mut validation = Validation::new(header.alg);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY_SECONDS;
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client_id]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let claims = verified(token, &key, &validation)?;
    if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err(Fault::Refused("the issuer is another"));
    }
    check_party(&claims, expected.client_id)?;
    let issued = claims.get("iat").and_then(Value::as_f64).ok_or(Fault::Refused("no time of issue"))?;
    if issued > (get_current_timestamp() + LEEWAY_SECONDS) as f64 {
        return Err(Fault::Refused("issued in the future"));
    }
    let nonce = claims.get("nonce").and_then(Value::as_str).unwrap_or_default();
    if aws_lc_rs::constant_time::verify_slices_are_equal(nonce.as_bytes(), expected.nonce.as_bytes()).is_err() {
        return Err(Fault::Refused("the nonce is of another login"));
    }
    match claims.get("at_hash") {
        Some(hash) if hash.as_str() != Some(&half_hash(header.alg, expected.access_token)) => {
            Err(Fault::Refused("the access token is another"))
        }
        _ => Ok(claims),
    }
}

/// The claims of user info that came as a signed token. It has no lifetime of its own; issuer and audience are checked where it has
/// them.
pub(super) fn read_signed_user_info(token: &str, keys: &[Jwk], issuer: &str, client: &str) -> Result<Claims, Fault> {
    let (header, key) = signing_key(token, keys)?;
    let mut validation = Validation::new(header.alg);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[client]);
    verified(token, &key, &validation)
}

/// Who is meant: with several audiences, or when it says so, the authorized party must be this client.
fn check_party(claims: &Claims, client_id: &str) -> Result<(), Fault> {
    let many = matches!(claims.get("aud"), Some(Value::Array(audiences)) if audiences.len() > 1);
    match claims.get("azp") {
        None if many => Err(Fault::Refused("several audiences and no authorized party")),
        Some(party) if party.as_str() != Some(client_id) => Err(Fault::Refused("the authorized party is another")),
        _ => Ok(()),
    }
}

fn verified(token: &str, key: &DecodingKey, validation: &Validation) -> Result<Claims, Fault> {
    use jsonwebtoken::errors::ErrorKind;
    decode::<Claims>(token, key, validation).map(|data| data.claims).map_err(|error| {
        Fault::Refused(match error.kind() {
            ErrorKind::InvalidSignature => "the signature is wrong",
            ErrorKind::ExpiredSignature => "expired",
            ErrorKind::ImmatureSignature => "not valid yet",
            ErrorKind::InvalidAudience => "the audience is another",
            ErrorKind::InvalidIssuer => "the issuer is another",
            ErrorKind::MissingRequiredClaim(_) => "a claim is missing",
            _ => "not a token",
        })
    })
}

fn signing_key(token: &str, keys: &[Jwk]) -> Result<(Header, DecodingKey), Fault> {
    if token.len() > TOKEN_LEN_MAX || token.bytes().filter(|&byte| byte == b'.').count() != 2 {
        return Err(Fault::Refused("not a signed token"));
    }
    // An algorithm that the library does not know, `none` among them, ends here.
    let header = decode_header(token).map_err(|_| Fault::Refused("the header cannot be read"))?;
    if header.crit.is_some() {
        return Err(Fault::Refused("the header demands an extension"));
    }
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Fault::Refused("the algorithm is not allowed"));
    }
    let mut fitting = keys.iter().filter(|key| fits(key, &header));
    let key = match (&header.kid, fitting.next(), fitting.next()) {
        (Some(_), Some(key), _) | (None, Some(key), None) => key,
        (Some(_), None, _) => return Err(Fault::UnknownKey),
        (None, ..) => return Err(Fault::Refused("the token does not say which key signed it")),
    };
    let key = DecodingKey::from_jwk(key).map_err(|_| Fault::Refused("the provider's key cannot be read"))?;
    Ok((header, key))
}

/// Whether a published key may have signed under this header.
fn fits(key: &Jwk, header: &Header) -> bool {
    let common = &key.common;
    let right_kind = match (&key.algorithm, header.alg) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256 | Algorithm::PS256) => true,
        (AlgorithmParameters::EllipticCurve(curve), Algorithm::ES256) => curve.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(pair), Algorithm::EdDSA) => pair.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    right_kind
        && header.kid.is_none() | (header.kid == common.key_id)
        && matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
        && common.key_operations.as_ref().is_none_or(|uses| uses.contains(&KeyOperations::Verify))
        && common.key_algorithm.is_none_or(|algorithm| algorithm.to_string() == format!("{:?}", header.alg))
}

/// OpenID Connect Core 1.0 section 3.1.3.6: the left half of the hash that belongs to the signature's algorithm.
fn half_hash(algorithm: Algorithm, text: &str) -> String {
    let hash = digest(if algorithm == Algorithm::EdDSA { &SHA512 } else { &SHA256 }, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
}

/// All of them by public keys. What French providers use is RS256 and PS256; longer hashes add nothing.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
/// Between the provider's clock and ours. More would keep old tokens alive, less would refuse people because of a slow clock.
const LEEWAY_SECONDS: u64 = 60;
/// Pro Santé Connect's user info lists every practice of a professional and comes close to 10 KB.
const TOKEN_LEN_MAX: usize = 64 * 1024;
