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
        let advertisers = match role {
            Role::Viewer | Role::Analyst => texts(&claims.rest, &self.terms.advertisers_claim),
            Role::Operator | Role::Admin => Vec::new(),
        };
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp) + LEEWAY)?;
        Some(Principal::new(&claims.sub, role, advertisers, Some(expires)))
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

/// The texts of a claim: one, or a list. Dots descend into objects.
fn texts(claims: &Map<String, Value>, path: &str) -> Vec<String> {
    let mut names = path.split('.');
    let first = names.next().and_then(|name| claims.get(name));
    let found = names.fold(first, |value, name| value?.get(name));
    match found {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(list)) => list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}
