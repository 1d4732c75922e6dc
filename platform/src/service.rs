//! Services of Windows: programs that the system starts, asks for their state and
//! stops.
//!
//! ```text
//!   run ──▶ the system's dispatcher ──▶ body (a thread of the system's)
//!                    │                    │  Session::running: "it runs", and from
//!                    │ stop, shutdown     ▼  now on it can be stopped
//!                    └──────────────▶ the stop that was given there
//!                                         │
//!                    "it has stopped" ◀───┘ body returns an exit code
//! ```
//! Invariant: the system hears that it stopped after everything else.

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use windows_service::service::{
    ServiceAccess, ServiceControl, ServiceControlAccept, ServiceErrorControl, ServiceExitCode,
    ServiceInfo, ServiceStartType, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    ServiceControlHandlerResult, ServiceStatusHandle, register,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_service::{define_windows_service, service_dispatcher};
use windows_sys::Win32::Foundation::{
    ERROR_ALREADY_EXISTS, ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_EXISTS,
};
use windows_sys::Win32::Security::SetFileSecurityW;
use windows_sys::Win32::Security::{DACL_SECURITY_INFORMATION, SECURITY_ATTRIBUTES};
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;
use windows_sys::Win32::System::Com::CoTaskMemFree;
use windows_sys::Win32::UI::Shell::{FOLDERID_ProgramData, SHGetKnownFolderPath};

use crate::local::windows::descriptor::Descriptor;
use crate::local::windows::name::wide;

/// The account of the system with the fewest rights that may use the network.
const ACCOUNT: &str = r"NT AUTHORITY\LocalService";

/// Rights in a service's directory: administrators and the system
/// everything, the service read and write. What is made inside inherits it.
const DIRECTORY: &str = "D:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1301bf;;;LS)";

/// Time that the system is told starting and stopping may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks whether a service is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A service, as it is registered.
#[derive(Clone, Debug)]
pub struct Registration<'a> {
    /// The name by which it is started and stopped.
    pub name: &'a str,
    /// The name that is shown.
    pub display_name: &'a str,
    /// Description of the service, for people.
    pub description: &'a str,
    /// Arguments that this program is started with as the service.
    pub arguments: Vec<OsString>,
}

/// Registers this program as a service that starts with the machine.
///
/// # Errors
/// What the system says: `AlreadyExists` if there is one of that name.
pub fn install(registration: &Registration<'_>) -> io::Result<()> {
    let info = ServiceInfo {
        name: registration.name.into(),
        display_name: registration.display_name.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: std::env::current_exe()?,
        launch_arguments: registration.arguments.clone(),
        dependencies: Vec::new(),
        account_name: Some(ACCOUNT.into()),
        account_password: None,
    };
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let service = manager(access)?
        .create_service(&info, ServiceAccess::CHANGE_CONFIG)
        .map_err(system_error)?;
    service.set_description(registration.description).map_err(system_error)
}

/// Stops a service and removes it.
///
/// # Errors
/// What the system says: `NotFound` if there is none of that name.
pub fn uninstall(name: &str) -> io::Result<()> {
    let access = ServiceAccess::QUERY_STATUS | ServiceAccess::STOP | ServiceAccess::DELETE;
    let service =
        manager(ServiceManagerAccess::CONNECT)?.open_service(name, access).map_err(system_error)?;
    let state = || service.query_status().map(|status| status.current_state).map_err(system_error);
    if !matches!(state()?, ServiceState::Stopped | ServiceState::StopPending) {
        service.stop().map_err(system_error)?;
    }
    let deadline = Instant::now() + PATIENCE;
    while state()? != ServiceState::Stopped {
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not stop"));
        }
        thread::sleep(LOOK_AGAIN);
    }
    service.delete().map_err(system_error)
}

/// Directory of programs' files that belong to no single user: usually `C:\ProgramData`.
/// Asked of
/// the system, since an environment variable may say anything.
///
/// # Errors
/// What the system says.
pub fn program_data() -> io::Result<PathBuf> {
    let mut start = std::ptr::null_mut();
    // SAFETY: the folder's number is static, no user's token is given, and the result is
    // valid for writing; it is freed once, whatever the outcome, as the call wants it.
    unsafe {
        let told =
            SHGetKnownFolderPath(&FOLDERID_ProgramData, 0, std::ptr::null_mut(), &raw mut start);
        if told < 0 {
            CoTaskMemFree(start.cast());
            return Err(io::Error::from_raw_os_error(told));
        }
        let mut length = 0;
        while *start.add(length) != 0 {
            length += 1;
        }
        let path = OsString::from_wide(std::slice::from_raw_parts(start, length));
        CoTaskMemFree(start.cast());
        Ok(path.into())
    }
}

/// A directory for a service's files, made if it is missing. Nobody but administrators
/// may put anything there: what is there decides what the service does.
///
/// # Errors
/// What the system says.
pub fn prepare_directory(path: &Path) -> io::Result<()> {
    let path = wide(path.to_str().ok_or(io::ErrorKind::InvalidFilename)?);
    let descriptor = Descriptor::parse(DIRECTORY)?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.as_ptr(),
        bInheritHandle: 0,
    };
    // SAFETY: the path is terminated; descriptor and attributes outlive the calls.
    let done = unsafe {
        CreateDirectoryW(path.as_ptr(), &raw const attributes) != 0
            || io::Error::last_os_error().raw_os_error() == Some(ERROR_ALREADY_EXISTS.cast_signed())
                && SetFileSecurityW(path.as_ptr(), DACL_SECURITY_INFORMATION, descriptor.as_ptr())
                    != 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

type Body = Box<dyn FnOnce(&Session) -> u32 + Send>;
type Stop = Box<dyn FnOnce() + Send>;

/// Function that the thread made by the system is to run: the thread takes no argument.
static BODY: Mutex<Option<(String, Body)>> = Mutex::new(None);

/// Runs as the service `name`: to be called by the system's service manager, through
/// the arguments of its [`Registration`]. Returns when `body` has, whose result is the
/// service's exit code, 0 for success.
///
/// # Errors
/// What the system says; above all when it was not the system that started it.
pub fn run(name: &str, body: impl FnOnce(&Session) -> u32 + Send + 'static) -> io::Result<()> {
    let entry = (name.to_owned(), Box::new(body) as Body);
    BODY.lock().unwrap_or_else(PoisonError::into_inner).replace(entry);
    service_dispatcher::start(name, service_main).map_err(system_error)
}

define_windows_service!(service_main, main_of_service);

fn main_of_service(_arguments: Vec<OsString>) {
    let body = BODY.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((name, body)) = body else { return };
    // There is nobody to tell: the system shows a service that did not start.
    let Ok(session) = Session::register(&name) else { return };
    session.tell(ServiceState::StartPending, 0);
    let code = body(&session);
    session.tell(ServiceState::Stopped, code);
}

/// The service, towards the system.
pub struct Session {
    handle: Arc<OnceLock<ServiceStatusHandle>>,
    stop: Arc<Mutex<Option<Stop>>>,
}

impl Session {
    fn register(name: &str) -> windows_service::Result<Session> {
        let session = Session { handle: Arc::default(), stop: Arc::default() };
        let (handle, stop) = (Arc::clone(&session.handle), Arc::clone(&session.stop));
        let registered = register(name, move |control| match control {
            ServiceControl::Stop | ServiceControl::Shutdown => {
                tell(&handle, ServiceState::StopPending, 0);
                let stop = stop.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(stop) = stop {
                    stop();
                }
                ServiceControlHandlerResult::NoError
            }
            ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
            _ => ServiceControlHandlerResult::NotImplemented,
        })?;
        let _ = session.handle.set(registered);
        Ok(session)
    }

    /// Tells that the service runs; `stop` is called, once, when it is to end.
    pub fn running(&self, stop: impl FnOnce() + Send + 'static) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stop));
        self.tell(ServiceState::Running, 0);
    }

    fn tell(&self, state: ServiceState, code: u32) {
        tell(&self.handle, state, code);
    }
}

/// Tells the system. What cannot be told changes nothing for the service.
fn tell(handle: &OnceLock<ServiceStatusHandle>, state: ServiceState, code: u32) {
    let Some(handle) = handle.get() else { return };
    let stops = ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN;
    let pending = matches!(state, ServiceState::StartPending | ServiceState::StopPending);
    let _ = handle.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: match state {
            ServiceState::Running => stops,
            _ => ServiceControlAccept::empty(),
        },
        exit_code: match code {
            0 => ServiceExitCode::NO_ERROR,
            code => ServiceExitCode::ServiceSpecific(code),
        },
        checkpoint: 0,
        wait_hint: if pending { PATIENCE } else { Duration::ZERO },
        process_id: None,
    });
}

fn manager(access: ServiceManagerAccess) -> io::Result<ServiceManager> {
    ServiceManager::local_computer(None::<&str>, access).map_err(system_error)
}

/// The system's own error, if that is what it is.
fn system_error(error: windows_service::Error) -> io::Error {
    let windows_service::Error::Winapi(error) = error else { return io::Error::other(error) };
    let kind = match error.raw_os_error().map(i32::cast_unsigned) {
        Some(ERROR_SERVICE_DOES_NOT_EXIST) => io::ErrorKind::NotFound,
        Some(ERROR_SERVICE_EXISTS) => io::ErrorKind::AlreadyExists,
        _ => return error,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_have_a_place_for_their_data() {
        let path = program_data().unwrap();
        assert!(path.is_absolute() && path.is_dir(), "{}", path.display());
    }

    #[test]
    fn a_directory_is_prepared_once_or_twice() {
        let path = std::env::temp_dir().join(format!("netcluster-data-{}", std::process::id()));
        prepare_directory(&path).unwrap();
        prepare_directory(&path).unwrap();
        assert!(path.is_dir());
        std::fs::remove_dir(&path).unwrap();
        let missing = path.join("deeper");
        assert_eq!(prepare_directory(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_not_installed_is_not_found() {
        let error = uninstall("netcluster-no-such-service").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
