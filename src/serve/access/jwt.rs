//! Signed tokens of an issuer: of OpenID Connect, or of any that publishes its keys as a JWK set.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Principal, Role};

/// Signatures that are taken: made with a key that only the issuer has.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// By how much clocks may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// How old keys may get before they are asked for again.
const KEYS_AGE: Duration = Duration::from_secs(300);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a JWK set.
const KEYS_MAX: usize = 1 << 20;

/// Where an issuer's keys come from.
#[derive(Clone, Debug)]
pub enum Keys {
    /// A file with a JWK set.
    File(PathBuf),
    /// A URL that answers with one.
    Url(String),
    /// Where the issuer's `/.well-known/openid-configuration` says.
    Discovered,
}

/// How an issuer's tokens are read.
#[derive(Clone, Debug)]
pub struct Terms {
    /// `iss`: the issuer.
    pub issuer: String,
    /// `aud`: whom its tokens are for.
    pub audience: String,
    /// The claim that holds the role, or several of which the greatest counts; dots descend.
    pub role_claim: String,
    /// The claim that holds the advertisers of a viewer.
    pub advertisers_claim: String,
    /// Its keys.
    pub keys: Keys,
}

/// Whose signed tokens are taken.
#[derive(Debug)]
pub struct Issuer {
    terms: Terms,
    keys: RwLock<(JwkSet, Option<Instant>)>,
}

/// Why an issuer's keys can't be had.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The file.
    #[error("serve.jwt.keys_file {} can't be read", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server.
    #[error("{url} can't be read")]
    Url {
        /// Which.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// What it answered.
    #[error("{place} holds no JWK set: {reason}")]
    Content {
        /// Where it is from.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    // Typed, so that a token whose end is no number is none of ours.
    exp: u64,
    #[serde(rename = "nbf", default)]
    _nbf: Option<u64>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Issuer {
    /// An issuer whose keys are not known yet.
    pub fn new(terms: Terms) -> Self {
        Self { terms, keys: RwLock::new((JwkSet { keys: Vec::new() }, None)) }
    }

    /// Asks for the keys again, if those that are known are old.
    ///
    /// # Errors
    /// See [`IssuerError`]; the known ones stay.
    pub async fn look(&self) -> Result<(), IssuerError> {
        let asked = self.keys.read().unwrap_or_else(PoisonError::into_inner).1;
        if asked.is_some_and(|asked| asked.elapsed() < KEYS_AGE) {
            return Ok(());
        }
        let (place, text) = self.fetch().await?;
        let set: JwkSet = serde_json::from_slice(&text)
            .map_err(|error| IssuerError::Content { place, reason: error.to_string() })?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = (set, Some(Instant::now()));
        Ok(())
    }

    async fn fetch(&self) -> Result<(String, Vec<u8>), IssuerError> {
        let url = match &self.terms.keys {
            Keys::File(path) => {
                let read = std::fs::read(path);
                let read = read.map_err(|source| IssuerError::File { path: path.clone(), source })?;
                return Ok((path.display().to_string(), read));
            }
            Keys::Url(url) => url.clone(),
            Keys::Discovered => {
                let issuer = self.terms.issuer.trim_end_matches('/');
                let place = format!("{issuer}/.well-known/openid-configuration");
                let told: Value = serde_json::from_slice(&get(&place).await?).unwrap_or_default();
                let content = |reason: &str| IssuerError::Content { place, reason: reason.to_owned() };
                if told["issuer"].as_str() != Some(&self.terms.issuer) {
                    return Err(content("it speaks for another issuer"));
                }
                told["jwks_uri"].as_str().ok_or_else(|| content("it has no jwks_uri"))?.to_owned()
            }
        };
        let text = get(&url).await?;
        Ok((url, text))
    }

    /// Who has shown this token, if it is this issuer's, for us, and valid now.
    pub fn admit(&self, token: &str) -> Option<Principal> {
        let header = decode_header(token).ok()?;
        if !ALGORITHMS.contains(&header.alg) {
            return None;
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let named = |kid: &String| keys.0.find(kid);
        // Without a name there must be no choice.
        let alone = || (keys.0.keys.len() == 1).then(|| &keys.0.keys[0]);
        let jwk = header.kid.as_ref().map_or_else(alone, named)?;
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.terms.issuer]);
        validation.set_audience(&[&self.terms.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = decode::<Claims>(token, &key, &validation).ok()?.claims;
        let role =
            texts(&claims.rest, &self.terms.role_claim).iter().filter_map(|role| Role::parse(role)).max()?;
        let claim = &self.terms.advertisers_claim;
        let is_limited =
            role < Role::Operator && find(&claims.rest, claim).is_some_and(|claim| !claim.is_null());
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp))?.checked_add(LEEWAY)?;
        let principal = Principal::new(&claims.sub, role, texts(&claims.rest, claim), Some(expires));
        Some(match (is_limited, role) {
            // A limit that can't be read lets nothing through.
            (true, _) => principal.limited_to(texts(&claims.rest, claim)),
            (false, Role::Viewer) => principal,
            (false, _) => Principal { advertisers: None, ..principal },
        })
    }
}

async fn get(url: &str) -> Result<Vec<u8>, IssuerError> {
    let failed = |source| IssuerError::Url { url: url.to_owned(), source };
    let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(failed)?;
    let mut answer =
        client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        text.extend_from_slice(&chunk);
        if text.len() > KEYS_MAX {
            let reason = format!("it is longer than {KEYS_MAX} bytes");
            return Err(IssuerError::Content { place: url.to_owned(), reason });
        }
    }
    Ok(text)
}

/// A claim; dots descend into objects.
fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let first = names.next().and_then(|name| claims.get(name));
    names.fold(first, |value, name| value?.get(name))
}

/// The texts of a claim: one, or a list.
fn texts(claims: &Map<String, Value>, path: &str) -> Vec<String> {
    match find(claims, path) {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(list)) => list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    struct Signer {
        key: EncodingKey,
        jwk: Value,
        kid: &'static str,
    }

    impl Signer {
        fn new(kid: &'static str) -> Self {
            let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
            let pair = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
            let public = EcdsaKeyPair::from_pkcs8(kind, pair.as_ref(), &random).expect("ours");
            let point = public.public_key().as_ref();
            let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let jwk = json!({
                "kty": "EC", "crv": "P-256", "use": "sig", "kid": kid, "x": part(&point[1..33]), "y": part(&point[33..]),
            });
            Self { key: EncodingKey::from_ec_der(pair.as_ref()), jwk, kid }
        }

        fn sign(&self, claims: &Value) -> String {
            let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::ES256) };
            encode(&header, claims, &self.key).expect("signed")
        }
    }

    fn issuer(keys: &[&Signer]) -> Issuer {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("keys.json");
        let set = json!({ "keys": keys.iter().map(|signer| &signer.jwk).collect::<Vec<_>>() });
        std::fs::write(&file, set.to_string()).expect("written");
        let issuer = Issuer::new(Terms {
            issuer: "https://login.example".to_owned(),
            audience: "advertisex".to_owned(),
            role_claim: "realm.roles".to_owned(),
            advertisers_claim: "advertisers".to_owned(),
            keys: Keys::File(file),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(issuer.look()).expect("a JWK set");
        issuer
    }

    fn claims(change: &[(&str, Value)]) -> Value {
        let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut claims = json!({
            "iss": "https://login.example", "aud": ["other", "advertisex"], "sub": "alice", "exp": now + 600,
            "realm": { "roles": ["offline", "viewer"] }, "advertisers": ["adv1", "adv2"],
        });
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        claims
    }

    #[test]
    fn a_token_of_the_issuer_says_who_somebody_is() {
        let (one, other) = (Signer::new("one"), Signer::new("other"));
        let issuer = issuer(&[&other, &one]);
        let alice = issuer.admit(&one.sign(&claims(&[]))).expect("it is good");
        assert_eq!((&*alice.name, alice.role), ("alice", Role::Viewer));
        assert!(alice.advertisers.expect("a viewer is limited").iter().eq(["adv1", "adv2"]));
        let greater = claims(&[("realm", json!({ "roles": ["viewer", "operator"] }))]);
        let operator = issuer.admit(&other.sign(&greater)).expect("it is good");
        assert_eq!((operator.role, operator.advertisers), (Role::Operator, None));
        let nothing = issuer.admit(&one.sign(&claims(&[("advertisers", json!(null))]))).expect("it is good");
        assert!(nothing.advertisers.expect("a viewer is limited").is_empty(), "who is given none sees none");
        let analyst = |advertisers: Value| {
            let role = ("realm", json!({ "roles": "analyst" }));
            issuer
                .admit(&one.sign(&claims(&[role, ("advertisers", advertisers)])))
                .expect("it is good")
                .advertisers
        };
        assert!(analyst(json!(null)).is_none(), "an analyst who is not limited");
        for strange in [json!([]), json!(42), json!([42])] {
            assert!(analyst(strange).expect("a limit").is_empty(), "what can't be read lets nothing through");
        }
    }

    #[test]
    fn no_other_token_is_taken() {
        let (ours, strange) = (Signer::new("one"), Signer::new("one"));
        let issuer = issuer(&[&ours]);
        let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        for wrong in [
            claims(&[("iss", json!("https://other.example"))]),
            claims(&[("aud", json!("other"))]),
            claims(&[("aud", json!(null))]),
            claims(&[("exp", json!(now - 60))]),
            claims(&[("exp", json!("4000000000"))]),
            claims(&[("exp", json!(null))]),
            claims(&[("nbf", json!(now + 600))]),
            claims(&[("nbf", json!("later"))]),
            claims(&[("sub", json!(null))]),
            claims(&[("realm", json!({ "roles": ["root"] }))]),
            claims(&[("realm", json!({}))]),
        ] {
            assert!(issuer.admit(&ours.sign(&wrong)).is_none(), "{wrong}");
        }
        let good = claims(&[]);
        assert!(issuer.admit(&ours.sign(&good)).is_some());
        assert!(issuer.admit(&strange.sign(&good)).is_none(), "another key");
        // A signature by what everybody knows, or by nothing.
        let secret = ours.jwk["x"].as_str().expect("a coordinate").as_bytes();
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
        let forged = encode(&header, &good, &EncodingKey::from_secret(secret)).expect("signed");
        assert!(issuer.admit(&forged).is_none());
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let unsigned = format!("{}.{}.", part(json!({ "alg": "none", "typ": "JWT" })), part(good.clone()));
        for strange in [unsigned.as_str(), "", "a.b.c", "....", &ours.sign(&good)[..40]] {
            assert!(issuer.admit(strange).is_none(), "{strange}");
        }
    }
}
