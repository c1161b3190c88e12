//! The port: garbage, silence, other authorities. Each is refused and counted, and everybody else is served.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use starling_proto::v1::GetStatusRequest;
use starling_proto::v1::admin_service_client::AdminServiceClient;
use starling_tests::steps::{expect, wait};

use crate::bed::{Bed, on_a_hub};
use crate::client::{self, Identity};

/// Connections that say nothing.
const SILENT: usize = 400;

#[test]
fn garbage_is_refused_and_counted() -> Result<()> {
    on_a_hub("port-garbage", &[], |bed| {
        let noise: Vec<u8> = (0..4096_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let pieces: [&[u8]; 4] = [
            &noise,
            b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\xff\xff\x01",
        ];
        for piece in pieces {
            let mut stream = client::connect(&bed.hub.address())?;
            // The hub may close before it took all of it.
            let _ = stream.write_all(piece);
            stream.shutdown(std::net::Shutdown::Write).or_else(not_connected)?;
            client::read_to_end(&stream)?;
        }
        wait("all of it to be counted", || {
            let counted = ["not-tls", "protocol", "closed"]
                .iter()
                .map(|reason| bed.metric(&format!("starling_connections_refused_total{{reason=\"{reason}\"}}")))
                .sum::<Result<u64>>()?;
            ensure!(counted >= pieces.len() as u64, "{counted} of {}", pieces.len());
            Ok(())
        })?;
        is_served(bed)
    })
}

#[test]
fn silent_connections_are_closed_and_keep_nobody_out() -> Result<()> {
    on_a_hub("port-silent", &[], |bed| {
        let began = Instant::now();
        let silent: Vec<TcpStream> = (0..SILENT).map(|_| client::connect(&bed.hub.address())).collect::<Result<_>>()?;
        // Half a hello is as silent as none.
        for mut stream in silent.iter().step_by(2) {
            stream.write_all(b"\x16\x03\x01\x02")?;
        }
        is_served(bed)?;
        ensure!(
            began.elapsed() < Duration::from_secs(9),
            "others are served while these are silent: {:?}",
            began.elapsed()
        );
        let _agent = bed.run_agent(&crate::bed::cluster("edge"), &bed.adopt("edge", &[])?, "identity");
        bed.wait_live("edge")?;
        for stream in &silent {
            client::read_to_end(stream)?;
        }
        ensure!(began.elapsed() < Duration::from_secs(60), "closed after {:?}", began.elapsed());
        wait("silence to be counted", || {
            let counted = bed.metric("starling_connections_refused_total{reason=\"timeout\"}")?;
            ensure!(counted >= SILENT as u64, "{counted} of {SILENT}");
            Ok(())
        })
    })
}

#[test]
fn a_certificate_of_another_authority_is_refused() -> Result<()> {
    on_a_hub("port-foreign", &[], |bed| {
        let adoption = bed.adopt("edge", &[])?;
        let name = format!("starling://api/cluster/{}", adoption.cluster_id);
        let identity = client::foreign_identity(&name)?;
        let error = bed.runtime.block_on(connect_as(bed, &adoption.trust_pem, &identity));
        let error = error.err().context("a foreign certificate is taken")?;
        ensure!(format!("{error:#}").contains("alert"), "the client is told by a TLS alert: {error:#}");
        wait("it to be counted", || {
            let counted = bed.metric("starling_connections_refused_total{reason=\"foreign-certificate\"}")?;
            ensure!(counted >= 1, "not counted");
            Ok(())
        })?;
        is_served(bed)
    })
}

#[test]
fn the_admin_api_answers_nobody_without_its_token() -> Result<()> {
    on_a_hub("port-token", &[], |bed| {
        let adoption = bed.adopt("edge", &[])?;
        let file = bed.hub.options().state.join("wrong.token");
        std::fs::write(&file, "not-the-token").context("write a wrong token")?;
        let printed = expect(&bed.hub, &["--token-file", &file.display().to_string(), "status"], 5, &["next:"])?;
        ensure!(printed.stdout.is_empty(), "{printed:?}");
        let without = bed.runtime.block_on(async {
            let channel = client::channel(&bed.hub.address(), client::tls(&adoption.trust_pem, None)?).await?;
            match AdminServiceClient::new(channel).get_status(GetStatusRequest {}).await {
                Ok(answer) => bail!("the hub answered {answer:?}"),
                Err(status) => Ok(status),
            }
        })?;
        ensure!(without.code() == tonic::Code::Unauthenticated, "{without:?}");
        is_served(bed)
    })
}

/// Opens a session's connection and reads from it: with TLS 1.3 a client learns only then that it was refused.
async fn connect_as(bed: &Bed, trust_pem: &str, identity: &Identity) -> Result<()> {
    use tokio::io::AsyncReadExt;
    let config = client::tls(trust_pem, Some(identity))?;
    let mut stream = client::handshake(&bed.hub.address(), config).await?;
    stream.read_u8().await.context("read from the hub")?;
    Ok(())
}

fn is_served(bed: &Bed) -> Result<()> {
    expect(&bed.hub, &["status"], 0, &["Fleet:      api"])?;
    Ok(())
}

fn not_connected(error: std::io::Error) -> Result<()> {
    if error.kind() == std::io::ErrorKind::NotConnected { Ok(()) } else { Err(error).context("end the stream") }
}
