//! Why a file cannot be read, and as whom: it is most often root who put it there, and another user who runs the server.
//!
//! Not here: reading, and the file's name.

use std::io;

/// The cause; where access was denied, whom it was denied to.
#[must_use]
pub fn unreadable(error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error.to_string();
    }
    let id = rustix::process::geteuid().as_raw();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    match account(&accounts, id) {
        Some(name) => format!("the user {name} may not read it"),
        None => format!("the user with the number {id} may not read it"),
    }
}

/// `name:password:number:…`, a line each (passwd(5)).
fn account(accounts: &str, id: u32) -> Option<&str> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_number_among_lines_of_any_kind() {
        let accounts = "root:x:0:0:root:/root:/bin/bash\n+nis\nother:x:9990:1::/:\ncolloque:x:999:995::/var/lib/colloque:/usr/sbin/nologin\n";
        assert_eq!(account(accounts, 999), Some("colloque"));
        assert_eq!(account(accounts, 1), None);
    }

    #[test]
    fn a_missing_file_is_not_blamed_on_the_user() {
        let told = |kind| unreadable(&io::Error::from(kind)).contains("user");
        assert_eq!([io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied].map(told), [false, true]);
    }
}
