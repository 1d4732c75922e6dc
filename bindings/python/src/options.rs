//! What a connection can be told, read from keyword arguments.

use std::time::Duration;

use netcluster_client::{Client, ClientBuilder, QueuePolicy, Reconnect, SharedMemory};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::wait::time;

/// Reads the options of a client.
///
/// # Errors
/// There is none of this name, or a value is of another type.
pub(crate) fn builder(options: Option<&Bound<'_, PyDict>>) -> PyResult<ClientBuilder> {
    let mut builder = Client::builder();
    for (name, value) in options.into_iter().flat_map(|options| options.iter()) {
        let name: String = name.extract()?;
        builder = set(builder, &name, &value).map_err(|error| {
            let py = value.py();
            if error.is_instance_of::<PyTypeError>(py) && !error.to_string().contains(&name) {
                PyTypeError::new_err(format!("{name}: {}", error.value(py)))
            } else {
                error
            }
        })?;
    }
    Ok(builder)
}

fn set(builder: ClientBuilder, name: &str, value: &Bound<'_, PyAny>) -> PyResult<ClientBuilder> {
    let seconds = || value.extract().and_then(time);
    Ok(match name {
        "channel" => builder.channel(value.extract::<String>()?),
        "name" => builder.name(value.extract::<String>()?),
        "echo" => builder.echo(value.extract()?),
        "latest" if value.extract()? => builder.queue(QueuePolicy::Latest),
        "shared_memory" if !value.extract()? => builder.shared_memory(SharedMemory::Off),
        "reconnect" if !value.extract()? => builder.reconnect(Reconnect::Never),
        "latest" | "shared_memory" | "reconnect" => builder,
        "max_queue" => builder.max_queue(value.extract()?),
        "max_buffer" => builder.max_buffer(value.extract()?),
        "max_payload" => builder.max_payload(value.extract()?),
        "connect_timeout" => builder.connect_timeout(seconds()?),
        "disconnect_timeout" => builder.disconnect_timeout(seconds()?),
        "wait_for_broker" => builder.wait_for_broker(seconds()?),
        "spin" => builder.spin(seconds()?),
        "wait_for_cluster" if value.is_none() => builder,
        "wait_for_cluster" => builder.wait_for_cluster(seconds()?),
        _ => {
            let text = format!("a client has no option `{name}`");
            return Err(PyTypeError::new_err(text));
        }
    })
}

/// Reads how long disconnecting may take, which also bounds waiting for listeners then.
///
/// # Errors
/// It is no time.
pub(crate) fn disconnect_timeout(options: Option<&Bound<'_, PyDict>>) -> PyResult<Duration> {
    let given =
        options.map(|options| options.get_item("disconnect_timeout")).transpose()?.flatten();
    given.map_or(Ok(Duration::from_secs(5)), |given| given.extract().and_then(time))
}
