use sealed_session::{ConfigError, CookieConfig, CookieStore, KeyRing};

/// The sessions of one application: "shop", "admin".
pub fn store(application: &str, keys: KeyRing) -> Result<CookieStore, ConfigError> {
    let name = format!("__Host-{application}-session");
    let cookie = CookieConfig::builder().name(name).build()?;
    CookieStore::builder(keys).cookie(cookie).build()
}
