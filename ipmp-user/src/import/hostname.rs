//! The grammar of `/etc/hostname.IF`: arguments of Solaris's ifconfig(1M), one command a line.
//!
//! ```text
//!  192.168.10.215 broadcast + netmask + up group test \
//!  addif 192.168.10.216 –failover deprecated netmask + broadcast + up
//!  └─ first logical interface until `addif` ──┘ └─ the next one ─ …
//! ```
//!
//! Words come in any order. `group` and `standby` concern the physical interface, the rest the logical one at hand.

/// A value and its line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// One logical interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "ifconfig's own flags, independent of each other")]
pub(super) struct Logical {
    /// Where it begins.
    pub(super) line: usize,
    /// A name or an address, perhaps with `/prefix`.
    pub(super) address: Option<At<String>>,
    pub(super) netmask: Option<At<String>>,
    pub(super) broadcast: Option<At<String>>,
    pub(super) deprecated: bool,
    /// `-failover`: a test address.
    pub(super) no_failover: bool,
    pub(super) up: bool,
    /// By DHCP or another protocol.
    pub(super) dynamic: bool,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hostname {
    pub(super) group: Option<At<String>>,
    pub(super) standby: Option<At<bool>>,
    /// An IPMP interface of `OpenSolaris`, not a physical one.
    pub(super) ipmp: Option<usize>,
    /// The first is the interface itself. Never empty after parsing.
    pub(super) logicals: Vec<Logical>,
    /// What is not carried over.
    pub(super) remarks: Vec<At<String>>,
}

/// Words that take a value and mean nothing to us.
const WITH_VALUE: &[&str] = &[
    "mtu",
    "metric",
    "ether",
    "index",
    "token",
    "subnet",
    "destination",
    "tsrc",
    "tdst",
    "usesrc",
    "zone",
    "removeif",
    "modinsert",
    "modremove",
    "encaplimit",
    "thoplimit",
    "auth_algs",
    "encr_algs",
    "encr_auth_algs",
    "wait",
];
/// Words that stand alone and mean nothing to us.
const ALONE: &[&str] = &[
    "unplumb",
    "trailers",
    "-trailers",
    "arp",
    "-arp",
    "private",
    "-private",
    "xmit",
    "-xmit",
    "nud",
    "-nud",
    "anycast",
    "-anycast",
    "preferred",
    "-preferred",
    "local",
    "-local",
    "router",
    "-router",
    "fixedmtu",
    "modlist",
    "all-zones",
    "start",
    "primary",
];

impl Logical {
    const fn new(line: usize) -> Self {
        Self {
            line,
            address: None,
            netmask: None,
            broadcast: None,
            deprecated: false,
            no_failover: false,
            up: false,
            dynamic: false,
        }
    }
}

/// Parses a file. Total. `ipv6` = `/etc/hostname6.*`, whose single line gets no implied words.
pub(super) fn parse(text: &str, ipv6: bool) -> Hostname {
    let commands = commands(text);
    let mut file = Hostname { logicals: vec![Logical::new(1)], ..Hostname::default() };
    let single = commands.len() == 1;
    for command in commands {
        let last = command.last().map_or(1, |token| token.line);
        let mut at_hand = 0;
        let mut words = command.into_iter();
        while let Some(word) = words.next() {
            at_hand = file.word(&word, &mut words, at_hand);
        }
        // Solaris's net_include.sh adds "netmask + broadcast + up" to a file of a single line.
        if single
            && !ipv6
            && let Some(logical) = file.logicals.get_mut(at_hand)
        {
            logical.up = true;
            logical.netmask.get_or_insert_with(|| At { value: "+".to_owned(), line: last });
        }
    }
    file
}

/// The words of each command: lines joined where one ends in a backslash.
fn commands(text: &str) -> Vec<Vec<At<String>>> {
    let mut commands = Vec::new();
    let mut open: Vec<At<String>> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if open.is_empty() && content.starts_with('#') {
            continue;
        }
        // A space behind the backslash came with copying; a command of its own would mean the same.
        let (content, goes_on) = match content.strip_suffix('\\') {
            Some(rest) => (rest, true),
            None => (content, false),
        };
        open.extend(content.split_whitespace().map(|word| At { value: plain_dash(word), line }));
        if !goes_on && !open.is_empty() {
            commands.push(std::mem::take(&mut open));
        }
    }
    if !open.is_empty() {
        commands.push(open);
    }
    commands
}

/// A word processor's dash before a word is a hyphen; so is U+FFFD, what such a dash became in another encoding.
fn plain_dash(word: &str) -> String {
    let dashes = ['\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}', '\u{2212}', '\u{fffd}'];
    match word.strip_prefix(dashes) {
        // A dash of three undecodable bytes is three times U+FFFD.
        Some(rest) => format!("-{}", rest.trim_start_matches('\u{fffd}')),
        None => word.to_owned(),
    }
}

impl Hostname {
    /// Takes one word, and its value from `more`. Gives the logical interface that the next one concerns.
    fn word(
        &mut self,
        word: &At<String>,
        more: &mut impl Iterator<Item = At<String>>,
        at_hand: usize,
    ) -> usize {
        let line = word.line;
        match word.value.as_str() {
            "inet" | "inet6" | "plumb" => {}
            "ipmp" => self.ipmp = Some(line),
            "group" => self.group = more.next(),
            "standby" => self.standby = Some(At { value: true, line }),
            "-standby" => self.standby = Some(At { value: false, line }),
            "addif" => {
                self.logicals.push(Logical { address: more.next(), ..Logical::new(line) });
                return self.logicals.len() - 1;
            }
            "netmask" | "broadcast" | "set" => self.valued(word, more.next(), at_hand),
            other if WITH_VALUE.contains(&other) => {
                let value = more.next().map(|value| value.value).unwrap_or_default();
                self.remark(line, format!("`{other} {value}` is not carried over"));
            }
            other if ALONE.contains(&other) => self.remark(line, format!("`{other}` is not carried over")),
            _ => self.flag_or_address(word, at_hand),
        }
        at_hand
    }

    fn valued(&mut self, word: &At<String>, value: Option<At<String>>, at_hand: usize) {
        let Some(value) = value else {
            self.remark(word.line, format!("`{}` has no value", word.value));
            return;
        };
        let Some(logical) = self.logicals.get_mut(at_hand) else { return };
        match word.value.as_str() {
            "netmask" => logical.netmask = Some(value),
            "broadcast" => logical.broadcast = Some(value),
            _ => logical.address = Some(value),
        }
    }

    fn flag_or_address(&mut self, word: &At<String>, at_hand: usize) {
        let Some(logical) = self.logicals.get_mut(at_hand) else { return };
        match word.value.as_str() {
            "up" => logical.up = true,
            "down" => logical.up = false,
            "deprecated" => logical.deprecated = true,
            "-deprecated" => logical.deprecated = false,
            "-failover" => logical.no_failover = true,
            "failover" => logical.no_failover = false,
            "dhcp" | "auto-dhcp" | "revarp" | "auto-revarp" => logical.dynamic = true,
            other if other.starts_with('-') => {
                self.remark(word.line, format!("`{other}` is not understood and not carried over"));
            }
            other if logical.address.is_some() => {
                let text = format!(
                    "`{other}` is not understood and not carried over: the address was given already"
                );
                self.remark(word.line, text);
            }
            _ => logical.address = Some(word.clone()),
        }
    }

    fn remark(&mut self, line: usize, text: String) {
        self.remarks.push(At { value: text, line });
    }
}
