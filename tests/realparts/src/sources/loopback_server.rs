//! An axum router served on 127.0.0.1 by a thread of its own, so that blocking tests need no runtime.

use std::net::Ipv4Addr;
use std::thread::JoinHandle;

use axum::Router;
use tokio::sync::oneshot;

use crate::error::{IoContext, Result};
use crate::ports::Port;

/// A running server; stopped on drop.
#[derive(Debug)]
pub(crate) struct LoopbackServer {
    port: Port,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LoopbackServer {
    /// Serves as soon as it returns; `name` names the thread.
    pub(crate) fn start(name: &str, router: Router) -> Result<Self> {
        let port = Port::reserve()?;
        // Bound here, so that a connection made right after this call waits in the backlog instead of being refused.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port.number()))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .doing(|| format!("listen on {}", port.address()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing(|| "start a runtime".to_owned())?;
        let (stop, stopped) = oneshot::channel();
        let thread_name = name.to_owned();
        let thread = std::thread::Builder::new()
            .name(thread_name.clone())
            .spawn(move || {
                let served = runtime.block_on(async move {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    tokio::select! {
                        served = axum::serve(listener, router) => served,
                        _ = stopped => Ok(()),
                    }
                });
                if let Err(error) = served {
                    eprintln!("{thread_name} stopped serving: {error}");
                }
            })
            .doing(|| format!("start the thread {name}"))?;
        Ok(Self { port, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:<port>`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }
}

impl Drop for LoopbackServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only when the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the server was printed by its own thread.
            let _ = thread.join();
        }
    }
}
