//! The service of Windows: where its files are, and its life.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use netcluster_platform::service::{self, Registration, Session};

use crate::cli::config::sources::{self, Loaded};
use crate::cli::failure::Failure;
use crate::cli::log;
use crate::cli::output::notice;
use crate::cli::serve::{Serving, Sources};
use crate::cli::settings::Settings;

use super::log_file::LogFile;

/// Name of the service where services are started and stopped.
const NAME: &str = "netcluster";

/// Registers the service, after a look at what it will read.
pub fn install(config: Option<PathBuf>) -> Result<(), Failure> {
    let directory = directory()?;
    service::prepare_directory(&directory)
        .map_err(|error| cannot(&format!("prepare {}", directory.display()), &error))?;
    settings(config.as_deref())?;
    let mut arguments: Vec<OsString> = vec!["service".into(), "run".into()];
    if let Some(config) = config {
        // The service runs somewhere else.
        let absolute = std::path::absolute(&config).unwrap_or(config);
        arguments.extend(["--config".into(), absolute.into()]);
    }
    let registration = Registration {
        name: NAME,
        display_name: "netcluster event bus",
        description: "Carries events between the programs of this machine, and to other machines",
        arguments,
    };
    service::install(&registration).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::other(
            "the service is installed already; `netcluster service uninstall` removes it",
        ),
        _ => cannot("install the service", &error),
    })?;
    notice(format_args!(
        "installed the service {NAME}; its settings are read from {}; `net start {NAME}` starts it \
         now",
        directory.join("netcluster.toml").display()
    ));
    Ok(())
}

/// Stops it and removes it.
pub fn uninstall() -> Result<(), Failure> {
    service::uninstall(NAME).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::other("the service is not installed"),
        _ => cannot("uninstall the service", &error),
    })?;
    notice(format_args!("uninstalled the service {NAME}"));
    Ok(())
}

/// Is the service.
pub fn run(config: Option<PathBuf>) -> Result<(), Failure> {
    let outcome = Arc::new(Mutex::new(Ok(())));
    let result = Arc::clone(&outcome);
    let body = move |session: &Session| {
        let ended = live(session, config.as_deref());
        let code = ended.as_ref().err().map_or(0, Failure::number);
        *result.lock().unwrap_or_else(PoisonError::into_inner) = ended;
        u32::from(code)
    };
    service::run(NAME, body).map_err(|error| {
        Failure::usage(format_args!(
            "cannot run as a service: {error}; the system's service manager runs this (`net start \
             {NAME}`), `netcluster serve` is for the command line"
        ))
    })?;
    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *outcome, Ok(()))
}

/// Runs from the settings to the end of the broker. A failure is in the log as well: a
/// service has no other voice.
fn live(session: &Session, config: Option<&Path>) -> Result<(), Failure> {
    let file = LogFile::open(directory()?.join("netcluster.log"))
        .map_err(|error| cannot("open the log", &error))?;
    let loaded = settings(config);
    // Without settings there is no level, and yet something to tell.
    let settings = loaded.as_ref().ok().map(|loaded| &loaded.settings);
    let counts = log::start(settings, Some(Box::new(file)))?;
    let ended = loaded.and_then(|loaded| {
        let sources = Sources { typed: Settings::default(), config: loaded.file.clone() };
        Serving::start(&sources, &loaded, counts)
    });
    let ended = ended.and_then(|serving| {
        let shutdown = serving.shutdown();
        session.running(move || {
            tracing::info!("the service is to stop: shutting down");
            shutdown.request();
        });
        serving.join(false).map(drop)
    });
    let ended = ended.inspect_err(|failure| tracing::error!("{failure}"));
    log::flush();
    ended
}

/// Reads the service's settings from the named file or its own, which may be missing.
fn settings(config: Option<&Path>) -> Result<Loaded, Failure> {
    let own = directory()?.join("netcluster.toml");
    let own = own.exists().then_some(own);
    sources::load(Settings::default(), config.or(own.as_deref()))
}

/// Directory of the service's files.
fn directory() -> Result<PathBuf, Failure> {
    let data = service::program_data()
        .map_err(|error| cannot("find the directory of programs' data", &error))?;
    Ok(data.join("netcluster"))
}

fn cannot(what: &str, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "; run this as an administrator",
        _ => "",
    };
    Failure::other(format_args!("cannot {what}: {error}{hint}"))
}
