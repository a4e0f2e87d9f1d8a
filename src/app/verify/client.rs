//! How replicas are reached: over TLS where their addresses say so, with a token if there is one.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret, SecretString};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Asks replicas. Cheap to clone, and each replica has a clone of its own.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// One that has these authorities, certificates as PEM in a file, vouch for replicas (without:
    /// those that Mozilla trusts), and that asks with this token.
    ///
    /// # Errors
    /// The file can't be read, or holds no certificate.
    pub fn new(ca_file: Option<&Path>, token: Option<&SecretString>) -> anyhow::Result<Self> {
        let provider = aws_lc_rs::default_provider();
        let tls = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities(ca_file)?)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector.build());
        let authorization = token.map(|token| -> anyhow::Result<_> {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self { http, authorization: authorization.transpose()? })
    }

    /// # Errors
    /// There is no answer.
    pub async fn request(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, legacy::Error> {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.http.request(request).await
    }
}

fn authorities(file: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let Some(file) = file else {
        return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    };
    let pem = fs::read(file).context("--ca-file can't be read")?;
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        authorities.add(certificate.context("--ca-file: must hold certificates as PEM")?)?;
    }
    if authorities.is_empty() {
        bail!("--ca-file: must hold certificates as PEM, and has none");
    }
    Ok(authorities)
}
