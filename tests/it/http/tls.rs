//! TLS: what is spoken, and a certificate that is renewed.

use std::fs;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};

use crate::harness::pki::Pair;
use crate::harness::{Authority, Replica, Scratch, run_cli};

/// A client that trusts this authority.
struct Client {
    roots: RootCertStore,
    versions: Vec<&'static SupportedProtocolVersion>,
    protocols: Vec<Vec<u8>>,
}

impl Client {
    fn of(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        Self { roots, versions: vec![&TLS12, &TLS13], protocols: Vec::new() }
    }

    async fn connect(&self, replica: &Replica) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols.clone_from(&self.protocols);
        let stream = TcpStream::connect(replica.address()).await.unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// Asks for the demo tenant; the connection stays open.
async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    let request = b"GET /tenants/by-phone/123456789 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("demo-tenant-001") {
        let mut some = [0; 4096];
        let length = stream.read(&mut some).await.unwrap();
        assert!(length > 0, "{answer}");
        answer.push_str(std::str::from_utf8(&some[..length]).unwrap());
    }
    answer
}

fn certificate(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

async fn start(pair: &Pair) -> Replica {
    let replica = Replica::builder()
        .env("TLS_CERT_FILE", pair.certificate.to_str().unwrap())
        .env("TLS_KEY_FILE", pair.key.to_str().unwrap())
        .spawn();
    replica.listening().await;
    replica
}

#[tokio::test]
async fn both_versions_are_spoken_and_nothing_else() {
    let (authority, folder) = (Authority::new(), Scratch::new("tls"));
    let replica = start(&authority.issue(&["127.0.0.1"], &folder, "tls")).await;
    for (version, spoken) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = Client { versions: vec![version], protocols, ..Client::of(&authority) };
        let mut stream = client.connect(&replica).await.unwrap();
        assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(spoken));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    let h2 = Client { protocols: vec![b"h2".to_vec()], ..Client::of(&authority) };
    assert!(h2.connect(&replica).await.is_err());
    assert!(Client::of(&Authority::new()).connect(&replica).await.is_err());
    // Whoever speaks plainly gets no answer.
    let mut plain = TcpStream::connect(replica.address()).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    let _silent = TcpStream::connect(replica.address()).await.unwrap();
    assert_eq!(replica.terminate().await, 0);
}

#[tokio::test]
async fn a_certificate_is_renewed_while_connections_go_on() {
    let (authority, folder) = (Authority::new(), Scratch::new("tls"));
    let replica = start(&authority.issue(&["127.0.0.1"], &folder, "tls")).await;
    let client = Client::of(&authority);
    let mut before = client.connect(&replica).await.unwrap();
    ask(&mut before).await;

    let renewed = authority.issue(&["127.0.0.1"], &folder, "tls");
    assert!(replica.process.signal("HUP"));
    let says = |text: &'static str| {
        move |line: &serde_json::Value| line["message"].as_str().unwrap_or_default().contains(text)
    };
    replica.wait_for_log(says("a new TLS certificate")).await;
    ask(&mut before).await;
    let mut after = client.connect(&replica).await.unwrap();
    ask(&mut after).await;
    assert_ne!(certificate(&before), certificate(&after));

    // What can't be used changes nothing, and is told.
    fs::write(&renewed.key, "hunter2").unwrap();
    assert!(replica.process.signal("HUP"));
    let told = replica.wait_for_log(says("can't be renewed")).await;
    assert!(told["error"].as_str().unwrap().contains("TLS_KEY_FILE"), "{told}");
    assert!(!told.to_string().contains("hunter2"), "{told}");
    let mut still = client.connect(&replica).await.unwrap();
    ask(&mut still).await;
    assert_eq!(certificate(&still), certificate(&after));
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_stops_the_start() {
    let (authority, folder) = (Authority::new(), Scratch::new("tls"));
    let one = authority.issue(&["127.0.0.1"], &folder, "one");
    let other = authority.issue(&["127.0.0.1"], &folder, "other");
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (certificate, key) = (text(&one.certificate), text(&other.key));
    let mixed = [("TLS_CERT_FILE", &*certificate), ("TLS_KEY_FILE", &key)];
    let output = run_cli(&["serve"], &mixed).await.expecting(1);
    assert!(output.stderr.contains("can't be used together"), "{}", output.stderr);
    let output = run_cli(&["serve"], &mixed[..1]).await.expecting(1);
    assert!(output.stderr.contains("TLS_KEY_FILE: is needed"), "{}", output.stderr);
    let output = run_cli(&["serve"], &mixed[1..]).await.expecting(1);
    assert!(output.stderr.contains("TLS_CERT_FILE: is needed"), "{}", output.stderr);
}
