//! Whom to believe about the client, where a proxy stands between: `X-Forwarded-Proto` and `X-Forwarded-For`, read as uvicorn reads them.

use std::net::IpAddr;

/// The addresses whose word counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    everyone: bool,
    networks: Vec<(IpAddr, u32)>,
}

impl Proxies {
    /// Reads addresses and networks (`10.0.0.0/8`) with commas between them; `*` is everyone, nothing is nobody.
    ///
    /// # Errors
    /// The part that is no address.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut proxies = Self { everyone: text.trim() == "*", networks: Vec::new() };
        if proxies.everyone {
            return Ok(proxies);
        }
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (address, bits) = part.split_once('/').map_or((part, None), |(address, bits)| (address, Some(bits)));
            let address: IpAddr = address.parse().map_err(|_| part.to_owned())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most));
            proxies.networks.push((address, bits.ok_or_else(|| part.to_owned())?));
        }
        Ok(proxies)
    }

    /// Whether what comes from this address is believed.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        self.everyone || self.networks.iter().any(|(network, bits)| holds(*network, *bits, address.to_canonical()))
    }

    /// The client that a trusted proxy speaks for: the last one in the list that is no proxy itself. `None`: it names nobody.
    #[must_use]
    pub fn client(&self, forwarded_for: &str) -> Option<(String, u32)> {
        let named: Vec<_> = forwarded_for.split(',').map(|part| host_port(part.trim())).collect();
        let stranger = |(host, _): &&(&str, u32)| !host.parse().is_ok_and(|address| self.trust(address));
        let found = if self.everyone { None } else { named.iter().rev().find(stranger) };
        let (host, port) = found.or(named.first())?;
        (!host.is_empty()).then(|| ((*host).to_owned(), *port))
    }
}

/// The scheme that a trusted proxy says its client used. `None`: it says none that there is.
#[must_use]
pub fn scheme(forwarded_proto: &str, websocket: bool) -> Option<&'static str> {
    match (forwarded_proto.trim(), websocket) {
        ("http", false) => Some("http"),
        ("https", false) => Some("https"),
        ("ws", _) | ("http", true) => Some("ws"),
        ("wss", _) | ("https", true) => Some("wss"),
        _ => None,
    }
}

fn holds(network: IpAddr, bits: u32, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => bits == 0 || (network.to_bits() ^ address.to_bits()) >> (32 - bits) == 0,
        (IpAddr::V6(network), IpAddr::V6(address)) => bits == 0 || (network.to_bits() ^ address.to_bits()) >> (128 - bits) == 0,
        _ => false,
    }
}

fn host_port(text: &str) -> (&str, u32) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        return match rest.strip_prefix(':') {
            Some(port) => (host, port.parse().unwrap_or(0)),
            None if rest.is_empty() => (host, 0),
            None => (text, 0),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => port.parse().map_or((text, 0), |port| (host, port)),
        _ => (text, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(text: &str) -> Proxies {
        Proxies::parse(text).unwrap()
    }

    #[test]
    fn an_address_a_network_everyone_or_nobody_is_trusted() {
        let local = "127.0.0.1".parse().unwrap();
        let other = "10.1.2.3".parse().unwrap();
        let both = |text: &str| (proxies(text).trust(local), proxies(text).trust(other));
        assert_eq!(both("127.0.0.1"), (true, false));
        assert_eq!(both(" 127.0.0.1 , 10.0.0.0/8 "), (true, true));
        assert_eq!(both("10.1.2.0/24,::1"), (false, true));
        assert_eq!(both("0.0.0.0/0"), (true, true));
        assert_eq!(both("*"), (true, true));
        assert_eq!(both(""), (false, false));
        assert!(proxies("127.0.0.1").trust("::ffff:127.0.0.1".parse().unwrap()));
        assert!(proxies("2001:db8::/32").trust("2001:db8:1::5".parse().unwrap()));
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for bad in ["proxy.example", "10.0.0.0/33", "::/129", "10.0.0.0/x", "127.0.0.1;10.0.0.1"] {
            assert_eq!(Proxies::parse(&format!("127.0.0.1,{bad}")), Err(bad.to_owned()));
        }
    }

    #[test]
    fn the_client_is_the_last_one_that_is_no_proxy() {
        let named = |text: &str| proxies("127.0.0.1,10.0.0.0/8").client(text);
        let found = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(named("1.2.3.4"), found("1.2.3.4", 0));
        assert_eq!(named("1.2.3.4:55"), found("1.2.3.4", 55));
        assert_eq!(named("9.9.9.9, 1.2.3.4, 10.5.5.5:80, 127.0.0.1"), found("1.2.3.4", 0));
        assert_eq!(named("10.0.0.1, 127.0.0.1"), found("10.0.0.1", 0));
        assert_eq!(named("[2001:db8::1]:443"), found("2001:db8::1", 443));
        assert_eq!(named("2001:db8::1"), found("2001:db8::1", 0));
        assert_eq!(named("unknown"), found("unknown", 0));
        assert_eq!(named(""), None);
        assert_eq!(proxies("*").client("9.9.9.9, 1.2.3.4"), found("9.9.9.9", 0));
    }

    #[test]
    fn the_scheme_is_one_of_those_that_there_are() {
        assert_eq!(scheme(" https ", false), Some("https"));
        assert_eq!(scheme("https", true), Some("wss"));
        assert_eq!(scheme("http", true), Some("ws"));
        assert_eq!(scheme("gopher", false), None);
        assert_eq!(scheme("", false), None);
    }
}
