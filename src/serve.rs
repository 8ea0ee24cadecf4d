//! `colloque serve` and `colloque check`: binds, starts, waits for signals, drains.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use colloque::config::outbound::{HostRule, Outbound};
use colloque::config::{Config, LoginConfig};
use colloque::control::outbox;
use colloque::control::outgoing::Authorities;
use colloque::control::record::{Witness, runs};
use colloque::control::{Consultations, ControlSettings, GRACE, erasure, login};
use colloque::pii::Pii;
use colloque::store::{HeadKey, SqlStore};
use colloque::telephone::lines::Lines;
use colloque::telephone::opening::Opened;
use colloque::telephone::prompts::Prompts;
use colloque::telephone::trunk;
use colloque::web::listener::BoundedListener;
use colloque::web::security::SecurityHeaders;
use colloque::web::{self, AppState, tls};
use colloque::worker::grants::Grants;
use colloque::worker::pool::{PoolSettings, WorkerPool};
use colloque::worker::socket::MediaSocket;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::reload::ConfigFile;

/// A running server.
pub struct Running {
    pub consultations: Arc<Consultations>,
    pub base_url: String,
    pub admin_url: String,
    pub media_ports: Vec<u16>,
    store: Arc<SqlStore>,
    lines: Option<Arc<Lines>>,
    drain: Duration,
    /// Held as long as the server runs.
    _lock: File,
}

/// Runs until a signal ends it. SIGHUP has the file, if there is one, read again; without one it ends the process, as it does any.
pub async fn run(config: Config, file: Option<ConfigFile>) -> anyhow::Result<()> {
    // From here on it ends nothing, however early it comes.
    let file = file.map(|file| signal(SignalKind::hangup()).map(|hangups| (file, hangups))).transpose()?;
    let tls = load_tls(&config)?;
    let running = start(config, tls).await?;
    tracing::info!(url = running.base_url, admin = running.admin_url, ports = ?running.media_ports, "serving");
    if let Some((file, hangups)) = file {
        tokio::spawn(file.follow(hangups, running.lines.clone()));
    }
    running.wait().await
}

/// Binds everything and starts serving.
pub async fn start(config: Config, tls: Option<TlsAcceptor>) -> anyhow::Result<Running> {
    make_data_dir(&config.data_dir)?;
    let lock = lock_data_dir(&config.data_dir)?;
    let http =
        TcpListener::bind(config.http_addr).await.with_context(|| format!("cannot bind {}", config.http_addr))?;
    let admin =
        TcpListener::bind(config.admin_addr).await.with_context(|| format!("cannot bind {}", config.admin_addr))?;
    let base_url = match &config.public_url {
        Some(url) => url.clone(),
        None => url_of(if tls.is_some() { "https" } else { "http" }, http.local_addr()?),
    };
    let admin_url = url_of("http", admin.local_addr()?);

    let advertised = |addr: &colloque::config::MediaAddr| (addr.bind, addr.advertised.unwrap_or(addr.bind));
    let (pool, mut events) = WorkerPool::start(&PoolSettings {
        workers: config.workers,
        addresses: config.media_addrs.iter().map(advertised).collect(),
        first_port: config.media_port,
        grace: GRACE,
    })?;
    // The media threads stand: this one and those it starts from here on, the store's among them, are not as urgent.
    crate::give_way();
    let store = Arc::new(open_store(&config).await?);
    let media_ports = pool.ports();
    let telephone = open_telephone(&config).await?;
    let witness = Witness::begin(&config.data_dir)?;
    let settings = ControlSettings {
        base_url: base_url.clone(),
        grace: GRACE,
        rooms_max: config.rooms_max,
        acts: config.acts.clone(),
        signing_key_days: config.signing_key_days,
        login: config.login.clone(),
        outbound: config.outbound.clone(),
        phones: telephone.as_ref().map(Opened::board),
        spool_dir: config.data_dir.clone(),
    };
    let consultations = Consultations::open(store.clone(), Arc::new(pool), settings, witness.clone()).await?;
    consultations.start_sending();
    let lines = telephone.map(|telephone| telephone.start(Arc::clone(&consultations)));
    let watching = Arc::clone(&consultations);
    tokio::spawn(async move { watching.watch_keys().await });
    tokio::spawn(give_signs_of_life(witness));
    let reported = Arc::clone(&consultations);
    tokio::spawn(async move {
        while let Some((worker, event)) = events.recv().await {
            reported.handle_event(worker, event);
        }
    });

    let retention = Duration::from_secs(u64::from(config.retention_days) * 24 * 3_600);
    tokio::spawn(erasure::keep_up(Arc::clone(&consultations), config.data_dir.clone(), retention));

    let state = AppState {
        consultations: Arc::clone(&consultations),
        operator_token: config.operator_token.map(|token| Pii(token.0.into())),
        tls: tls.is_some(),
        has_public_url: config.public_url.is_some(),
    };
    let strict = tls.is_some() && config.public_url.is_some();
    let security = SecurityHeaders::new(&config.embed_origins, strict);
    let main = web::router(state.clone(), security);
    let operations = web::admin_router(state, SecurityHeaders::new(&[], false));
    let (main_listener, admin_listener) = (BoundedListener::new(http, tls)?, BoundedListener::new(admin, None)?);
    tokio::spawn(async move { axum::serve(main_listener, main).await });
    tokio::spawn(async move { axum::serve(admin_listener, operations).await });
    let drain = Duration::from_secs(config.drain_seconds.into());
    Ok(Running { consultations, base_url, admin_url, media_ports, store, lines, drain, _lock: lock })
}

/// The telephone, when there is one: its sockets and threads.
async fn open_telephone(config: &Config) -> anyhow::Result<Option<Opened>> {
    let Some(telephone) = config.telephone.clone() else { return Ok(None) };
    Ok(Some(Opened::open(telephone, config.outbound.trusted_ca.clone()).await?))
}

/// Two servers on one directory would mix up what each has spooled. The lock ends with the process, however it ends; commands beside a
/// running server do not take it.
fn lock_data_dir(path: &Path) -> anyhow::Result<File> {
    let path = path.join("lock");
    let file = crate::with_path(File::create(&path), "write", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!("another server runs on this data directory"),
        Err(TryLockError::Error(error)) => crate::with_path(Err(error), "lock", &path),
    }
}

/// For the record: how long the server was there to see.
async fn give_signs_of_life(witness: Witness) {
    let mut beats = tokio::time::interval(runs::BEAT);
    loop {
        beats.tick().await;
        if let Err(error) = witness.beat() {
            tracing::error!(%error, "cannot write to the data directory");
        }
    }
}

impl Running {
    /// SIGTERM drains and a second one stops at once, as does SIGINT.
    pub async fn wait(self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {
                self.consultations.set_draining(true);
                tracing::info!(rooms = self.consultations.census().rooms, "draining: waiting for running calls");
                tokio::select! {
                    () = self.drained() => {}
                    () = tokio::time::sleep(self.drain) => tracing::warn!("the drain's deadline passed"),
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
        }
        if let Some(lines) = &self.lines {
            lines.stop().await;
        }
        self.consultations.close_all();
        tokio::time::sleep(FAREWELL).await;
        self.consultations.journal().flush().await;
        self.store.close().await;
        tracing::info!("stopped");
        Ok(())
    }

    async fn drained(&self) {
        while self.consultations.census().rooms > 0 {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }
}

/// Tries everything a start would need, without starting. An address in use is no fault: beside the server all of them are.
pub async fn check(config: Config) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    let mut report = |what: String, result: anyhow::Result<()>| match result {
        Ok(()) => println!("ok     {what}"),
        Err(error) if is_in_use(&error) => println!("warn   {what}: in use: does the server run?"),
        Err(error) => {
            println!("failed {what}: {error:#}");
            faults.push(what);
        }
    };
    let store = if config.store_url.is_some() { " and PostgreSQL" } else { "" };
    report(format!("data directory {}{store}", config.data_dir.display()), check_store(&config).await);
    for (name, addr) in [("HTTP", config.http_addr), ("admin", config.admin_addr)] {
        let bound = TcpListener::bind(addr).await.map(drop).map_err(Into::into);
        report(format!("{name} address {addr}"), bound);
    }
    let acts: Vec<&str> = config.acts.iter().map(|act| act.name.as_str()).collect();
    report(format!("acts {}", acts.join(", ")), Ok(()));
    let mut sockets = Vec::new();
    for addr in &config.media_addrs {
        let first = SocketAddr::new(addr.bind, config.media_port);
        let shown = addr.advertised.unwrap_or(addr.bind);
        let what = format!("media address {first}, advertised as {shown}, {} UDP ports", config.workers);
        report(what, bind_media(first, config.workers).map(|bound| sockets.extend(bound)));
    }
    report("certificate for HTTPS".to_owned(), load_tls(&config).map(drop));
    if let Some(login) = &config.login {
        report(format!("login provider {}", login.issuer), check_login(&config, login.clone()).await);
    }
    check_outbound(&config.outbound, &mut report).await;
    if let Some(telephone) = &config.telephone {
        if let Some(folder) = &telephone.prompts_dir {
            let read = Prompts::new(Some(folder)).map(drop).map_err(Into::into);
            report(format!("telephone prompts {}", folder.display()), read);
        }
        for (trunk, tried) in trunk::check(telephone, config.outbound.trusted_ca.clone()).await {
            if tried == Ok(trunk::Asked::Presence) {
                println!(
                    "warn   telephone trunk {trunk}: it answers; whether it registers us is not tried beside the server"
                );
            } else {
                report(format!("telephone trunk {trunk}"), tried.map(drop).map_err(anyhow::Error::msg));
            }
        }
    }
    for shortcoming in Grants::of(&sockets).shortcomings() {
        println!("warn   {shortcoming}");
    }
    if faults.is_empty() { Ok(()) } else { anyhow::bail!("{} of the above failed", faults.len()) }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// What may leave, and whether it could: nothing is sent.
async fn check_outbound(outbound: &Outbound, report: &mut impl FnMut(String, anyhow::Result<()>)) {
    let authorities = Authorities::read(outbound.trusted_ca.as_deref());
    if let Some(file) = &outbound.trusted_ca {
        let read = authorities.as_ref().map(drop).map_err(|error| anyhow::anyhow!("{error}"));
        report(format!("further authorities {}", file.display()), read);
    }
    let authorities = authorities.unwrap_or_default();
    if let Some(email) = &outbound.email {
        let tried = outbox::check_email(outbound, &authorities).await.map_err(anyhow::Error::msg);
        report(format!("mail server {} port {}", email.host, email.port), tried);
    }
    if let Some(sms) = &outbound.sms {
        // Its path may hold a key.
        let host = sms.url.0.host_str().unwrap_or_default().to_owned();
        let port = sms.url.0.port_or_known_default().unwrap_or_default();
        let tried = tokio::time::timeout(
            CONNECT_TIME_MAX,
            tokio::net::TcpStream::connect((host.trim_matches(['[', ']']), port)),
        );
        let tried = tried.await.map_err(anyhow::Error::from).and_then(|connected| Ok(connected.map(drop)?));
        report(format!("SMS gateway {host} port {port}"), tried);
    }
    if !outbound.webhook_hosts.is_empty() {
        let shown = |rule: &HostRule| rule.port.map_or(rule.host.clone(), |port| format!("{}:{port}", rule.host));
        let hosts: Vec<String> = outbound.webhook_hosts.iter().map(shown).collect();
        report(format!("webhooks to {}", hosts.join(", ")), Ok(()));
    }
}

/// One socket a worker, as the pool binds them.
fn bind_media(first: SocketAddr, workers: usize) -> anyhow::Result<Vec<MediaSocket>> {
    let port = |worker: usize| if first.port() == 0 { 0 } else { first.port().saturating_add(worker as u16) };
    let bind = |worker| {
        let address = SocketAddr::new(first.ip(), port(worker));
        MediaSocket::bind(address).with_context(|| format!("cannot bind {address}"))
    };
    (0..workers).map(bind).collect()
}

async fn check_store(config: &Config) -> anyhow::Result<()> {
    open_store(config).await?.close().await;
    Ok(())
}

async fn check_login(config: &Config, login: LoginConfig) -> anyhow::Result<()> {
    let authorities = Authorities::read(config.outbound.trusted_ca.as_deref())?;
    Ok(login::try_provider(login, &authorities).await?)
}

/// The store that the configuration names, ready for use.
pub async fn open_store(config: &Config) -> anyhow::Result<SqlStore> {
    make_data_dir(&config.data_dir)?;
    let key = Arc::new(HeadKey::open(&config.data_dir)?);
    Ok(SqlStore::open(&config.data_dir, config.store_url.as_ref(), key).await?)
}

/// Health data: for this user only.
pub fn make_data_dir(path: &Path) -> anyhow::Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    crate::with_path(made, "make the data directory", path)?;
    let mode = crate::with_path(std::fs::metadata(path), "read the mode of", path)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "other users of this machine may look into the data directory: chmod 700 it");
    }
    Ok(())
}

fn load_tls(config: &Config) -> anyhow::Result<Option<TlsAcceptor>> {
    Ok(config.tls.as_ref().map(|files| tls::from_files(&files.cert, &files.key)).transpose()?)
}

fn url_of(scheme: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

/// Between two looks at the running rooms.
const DRAIN_POLL: Duration = Duration::from_millis(500);
/// For the last messages to leave.
const FAREWELL: Duration = Duration::from_millis(300);
/// To see whether something listens.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
