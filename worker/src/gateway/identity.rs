//! The installation's device: an Ed25519 key that a gateway knows it by.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

/// One device; the same for every worker of a fleet. `Debug` prints the device id only.
#[derive(Clone)]
pub struct DeviceIdentity {
    key: SigningKey,
    device_id: String,
    public_key: String,
}

/// What is signed (form v2 of the gateway protocol).
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// `client.id` of the connect request.
    pub client_id: &'a str,
    /// `client.mode` of the connect request.
    pub client_mode: &'a str,
    /// `role` of the connect request.
    pub role: &'a str,
    /// The scopes, in the order in which they are asked for.
    pub scopes: &'a [&'a str],
    /// The challenge's own time: no skew of our clock can void the signature.
    pub signed_at_ms: i64,
    /// The value of `auth.token`, empty if none is sent.
    pub token: &'a str,
    /// The challenge's nonce.
    pub nonce: &'a str,
}

impl DeviceIdentity {
    /// The device with this private key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let public = key.verifying_key().to_bytes();
        Self {
            device_id: hex::encode(Sha256::digest(public)),
            public_key: URL_SAFE_NO_PAD.encode(public),
            key,
        }
    }

    /// SHA-256 of the raw public key, in hex: the name under which a person approves it.
    #[must_use]
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// The raw public key, base64url without padding.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The signature over the claim, base64url without padding.
    #[must_use]
    pub fn sign(&self, claim: &Claim<'_>) -> String {
        URL_SAFE_NO_PAD.encode(self.key.sign(self.text(claim).as_bytes()).to_bytes())
    }

    fn text(&self, claim: &Claim<'_>) -> String {
        let Claim { client_id, client_mode, role, scopes, signed_at_ms, token, nonce } = claim;
        let (device, scopes) = (&self.device_id, scopes.join(","));
        format!("v2|{device}|{client_id}|{client_mode}|{role}|{scopes}|{signed_at_ms}|{token}|{nonce}")
    }
}

impl fmt::Debug for DeviceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceIdentity").field("device_id", &self.device_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, Verifier};

    use super::*;

    #[test]
    fn the_claim_is_signed_in_form_v2() {
        let device = DeviceIdentity::from_seed(&[7; 32]);
        let claim = Claim {
            client_id: "c",
            client_mode: "m",
            role: "operator",
            scopes: &["a", "b"],
            signed_at_ms: 42,
            token: "",
            nonce: "n",
        };
        assert_eq!(device.text(&claim), format!("v2|{}|c|m|operator|a,b|42||n", device.device_id()));
        let signature = URL_SAFE_NO_PAD.decode(device.sign(&claim)).unwrap();
        let signature = Signature::from_slice(&signature).unwrap();
        device.key.verifying_key().verify(device.text(&claim).as_bytes(), &signature).unwrap();
        assert_eq!(device.device_id().len(), 64);
        assert!(!format!("{device:?}").contains("key"));
    }
}
