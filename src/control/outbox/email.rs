//! Invitations by e-mail: one message to one address through the operator's SMTP server (RFC 5321), secured by TLS.
//!
//! Headers are built by types that take no line break; the text is one plain part. Not here: when to send and when to give up.

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use crate::config::outbound::{EmailOut, SmtpTls};
use crate::control::outgoing::{Authorities, OutgoingError};
use crate::pii::Pii;

use super::{SEND_TIME_MAX, SENDERS_MAX, Sent};

/// A mail server that takes invitations.
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    /// Connects only when there is something to send.
    pub(super) fn new(email: &EmailOut, authorities: &Authorities) -> Result<Self, OutgoingError> {
        let fault = |error: lettre::transport::smtp::Error| OutgoingError::Setup(error.to_string());
        let parameters = || {
            let mut builder = TlsParameters::builder(email.host.clone());
            if let Some(pem) = authorities.pem() {
                builder = builder.add_root_certificate(Certificate::from_pem(pem)?);
            }
            builder.build_rustls()
        };
        let tls = match email.tls {
            SmtpTls::Starttls => Tls::Required(parameters().map_err(fault)?),
            SmtpTls::Implicit => Tls::Wrapper(parameters().map_err(fault)?),
            SmtpTls::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(email.host.clone())
            .port(email.port)
            .tls(tls)
            .timeout(Some(SEND_TIME_MAX))
            .pool_config(PoolConfig::new().max_size(SENDERS_MAX as u32));
        if let Some((user, password)) = &email.login {
            builder = builder.credentials(Credentials::new(user.0.clone(), password.0.clone()));
        }
        Ok(Self { transport: builder.build(), from: email.from.clone() })
    }

    /// Whether the server lets us in.
    pub(super) async fn check(&self) -> Result<(), String> {
        match self.transport.test_connection().await {
            Ok(true) => Ok(()),
            Ok(false) => Err("the server ended the connection".to_owned()),
            // Host and port, certificates and status codes; the library never has a recipient here.
            Err(error) => Err(error.to_string()),
        }
    }

    /// Sends one message.
    pub(super) async fn send(&self, id: &str, to: &Pii<String>, subject: &str, text: String) -> Sent {
        let Some(message) = self.message(id, to, subject, text) else { return Sent::Never("address") };
        match self.transport.send(message).await {
            Ok(_) => Sent::Done,
            Err(error) => match error.status().map(u16::from) {
                // Mailbox unavailable, not local, full, name not allowed, transaction failed: of this message. Other permanent
                // answers are about us (530, 535: our login), which the operator can mend.
                Some(550..=554) => Sent::Never("refused"),
                Some(_) => Sent::Later("refused"),
                None if error.is_timeout() => Sent::Later("timeout"),
                None => Sent::Later("unreachable"),
            },
        }
    }

    fn message(&self, id: &str, to: &Pii<String>, subject: &str, text: String) -> Option<Message> {
        let address: Address = address(&to.0)?;
        // Not an answer to anybody, and none is wanted (RFC 3834): keeps holiday notices away.
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        Message::builder()
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .from(self.from.clone())
            .to(Mailbox::new(None, address))
            .date_now()
            .subject(subject)
            .raw_header(automatic)
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .ok()
    }
}

/// Reads an address that mail can be sent to.
pub(super) fn address(text: &str) -> Option<Address> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailer() -> Mailer {
        let email = EmailOut {
            host: "127.0.0.1".to_owned(),
            port: 1,
            tls: SmtpTls::None,
            login: None,
            from: "Maison de santé <rdv@clinic.example>".parse().unwrap(),
        };
        Mailer::new(&email, &Authorities::default()).unwrap()
    }

    #[tokio::test]
    async fn an_address_cannot_bring_headers_or_further_recipients_with_it() {
        for bad in [
            "a@b.example\r\nBcc: c@d.example",
            "a@b.example\nX: y",
            "a@b.example, c@d.example",
            "A <a@b.example>",
            "a@b.example>\r\nRCPT TO:<c@d.example",
            "a b@c.example",
            "",
            "a",
        ] {
            assert!(address(bad).is_none(), "{bad:?}");
            assert_eq!(mailer().send("1", &Pii(bad.to_owned()), "s", "t".to_owned()).await, Sent::Never("address"));
        }
    }

    #[tokio::test]
    async fn a_line_break_in_a_subject_or_an_identifier_is_no_header() {
        let to = Pii("a@b.example".to_owned());
        let message = mailer().message("1\r\nBcc: x@y.example", &to, "s\r\nBcc: x@y.example", "t".to_owned()).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(!text.lines().any(|line| line.starts_with("Bcc:")), "{text}");
        assert_eq!(message.envelope().to().len(), 1);
    }

    #[tokio::test]
    async fn a_message_is_plain_automatic_and_named_by_its_identifier() {
        let link = format!("https://consult.example/join#{}", "a1_-".repeat(60));
        let to = Pii("a@b.example".to_owned());
        let message = mailer().message("m1", &to, "Votre rendez-vous vidéo", format!("Bonjour é\n{link}\n")).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(text.contains("Message-ID: <m1@clinic.example>") && text.contains("Auto-Submitted: auto-generated"));
        assert!(text.contains("Content-Type: text/plain; charset=utf-8") && text.contains("To: a@b.example"), "{text}");
        assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 998), "{text}");
    }

    #[tokio::test]
    async fn a_server_that_is_down_is_tried_again() {
        let to = Pii("a@b.example".to_owned());
        assert_eq!(mailer().send("m1", &to, "s", "t".to_owned()).await, Sent::Later("unreachable"));
    }
}
