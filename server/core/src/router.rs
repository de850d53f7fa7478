//! Method and path to route number. Frozen once the server starts; first declared wins, as in Starlette.

use std::collections::HashMap;

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Match<'p> {
    /// The number of the route and its path parameters, still percent-encoded, in the order of the path.
    Route(usize, Vec<&'p str>),
    /// The path is known, but not with this method; the methods that it has, for the `Allow` header.
    MethodNotAllowed(String),
    /// No route has this path.
    NotFound,
    /// A route of a kind that is not matched here, declared before any other that fits, may fit.
    Other,
}

/// A path pattern that cannot be routed.
#[derive(Debug)]
pub struct BadPattern(
    /// The reason in words.
    pub String,
);

/// All routes of the server, by path pattern.
#[derive(Default)]
pub struct Router {
    fixed: HashMap<String, Methods>,
    patterns: matchit::Router<usize>,
    methods: Vec<Methods>,
    declared: Vec<Declared>,
    others: Vec<(usize, Vec<Segment>)>,
    // Two patterns fit one path (`/items/{id}`, `/items/latest`): then the order of declaration decides, and every look-up walks it.
    ambiguous: bool,
}

type Methods = Vec<(String, usize)>;

/// A segment of a pattern that is matched on the safe side.
enum Segment {
    Literal(String),
    Any,
    Rest,
}

struct Declared {
    method: String,
    pattern: String,
    route: usize,
    group: Option<usize>,
}

impl Router {
    /// Adds a route. `pattern` is a path with parameters in braces, each a whole segment: `/items/{item_id}`. Of two routes that fit
    /// a request the one added first answers.
    ///
    /// # Errors
    /// If the pattern is malformed.
    pub fn add(&mut self, method: &str, pattern: &str, route: usize) -> Result<(), BadPattern> {
        let same = self.declared.iter().find(|known| known.pattern == pattern).map(|known| known.group);
        let overlaps = self.declared.iter().any(|known| known.pattern != pattern && overlap(&known.pattern, pattern));
        self.ambiguous |= overlaps;
        let group = match (pattern.contains('{'), same) {
            (false, _) => {
                insert(self.fixed.entry(pattern.to_owned()).or_default(), method, route);
                None
            }
            (true, Some(group)) => {
                if let Some(group) = group {
                    insert(&mut self.methods[group], method, route);
                }
                group
            }
            (true, None) => match self.patterns.insert(pattern, self.methods.len()) {
                Ok(()) => {
                    self.methods.push(vec![(method.to_owned(), route)]);
                    Some(self.methods.len() - 1)
                }
                // An overlapping pattern that the tree cannot hold is found by the walk.
                Err(_) if overlaps => None,
                Err(error) => return Err(BadPattern(error.to_string())),
            },
        };
        self.declared.push(Declared { method: method.to_owned(), pattern: pattern.to_owned(), route, group });
        Ok(())
    }

    /// Adds a route with a pattern of any kind (convertors, mounts, parameters within a segment). Whether it fits a path is decided on the
    /// safe side here and exactly elsewhere.
    pub fn add_other(&mut self, pattern: &str, route: usize) {
        let mut segments = Vec::new();
        for segment in pattern.split('/') {
            match segment {
                rest if rest.contains(":path}") => {
                    segments.push(Segment::Rest);
                    break;
                }
                any if any.contains('{') => segments.push(Segment::Any),
                literal => segments.push(Segment::Literal(literal.to_owned())),
            }
        }
        self.others.push((route, segments));
    }

    /// Finds the route of a request.
    #[must_use]
    pub fn find<'p>(&self, method: &str, path: &'p str) -> Match<'p> {
        let found = self.find_exactly(method, path);
        if self.others.is_empty() {
            return found;
        }
        let before = if let Match::Route(number, _) = found { number } else { usize::MAX };
        let may_fit = |(route, segments): &(usize, Vec<Segment>)| *route < before && may_fit(segments, path);
        if self.others.iter().any(may_fit) { Match::Other } else { found }
    }

    fn find_exactly<'p>(&self, method: &str, path: &'p str) -> Match<'p> {
        if self.ambiguous {
            return self.walk(method, path);
        }
        if let Some(methods) = self.fixed.get(path) {
            return pick(methods, method, Vec::new());
        }
        match self.patterns.at(path) {
            Ok(found) => {
                let values = found.params.iter().map(|(_, value)| value).collect();
                pick(&self.methods[*found.value], method, values)
            }
            Err(_) => Match::NotFound,
        }
    }

    fn walk<'p>(&self, method: &str, path: &'p str) -> Match<'p> {
        let mut allowed = Vec::new();
        for known in &self.declared {
            if let Some(values) = values_of(&known.pattern, path) {
                if known.method == method {
                    return Match::Route(known.route, values);
                }
                allowed.push((known.method.clone(), known.route));
            }
        }
        if allowed.is_empty() { Match::NotFound } else { pick(&allowed, method, Vec::new()) }
    }
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

fn may_fit(segments: &[Segment], path: &str) -> bool {
    let mut given = path.split('/');
    for segment in segments {
        match (segment, given.next()) {
            (Segment::Rest, _) => return true,
            (Segment::Any, Some(_)) => {}
            (Segment::Literal(want), Some(value)) if want == value => {}
            _ => return false,
        }
    }
    given.next().is_none()
}

fn overlap(one: &str, other: &str) -> bool {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split('/').collect(), other.split('/').collect());
    one.len() == other.len() && one.iter().zip(&other).all(|(a, b)| a == b || is_parameter(a) || is_parameter(b))
}

fn values_of<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let mut values = Vec::new();
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(values),
            (Some(want), Some(value)) if is_parameter(want) && !value.is_empty() => values.push(value),
            (Some(want), Some(value)) if want == value => {}
            _ => return None,
        }
    }
}

fn insert(methods: &mut Methods, method: &str, route: usize) {
    if !methods.iter().any(|(known, _)| known == method) {
        methods.push((method.to_owned(), route));
    }
}

fn pick<'p>(methods: &Methods, method: &str, values: Vec<&'p str>) -> Match<'p> {
    match methods.iter().find(|(known, _)| known == method) {
        Some((_, route)) => Match::Route(*route, values),
        None => {
            let mut allowed: Vec<&str> = methods.iter().map(|(known, _)| known.as_str()).collect();
            allowed.sort_unstable();
            allowed.dedup();
            Match::MethodNotAllowed(allowed.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Match, Router};

    fn router() -> Router {
        let mut router = Router::default();
        for (method, pattern, route) in [
            ("GET", "/items", 0),
            ("POST", "/items", 1),
            ("GET", "/items/{item_id}", 2),
            ("GET", "/items/latest", 3),
            ("GET", "/items/{item_id}", 4),
        ] {
            router.add(method, pattern, route).expect("a good pattern");
        }
        router
    }

    #[test]
    fn a_fixed_path_is_found_by_its_method() {
        assert_eq!(router().find("POST", "/items"), Match::Route(1, vec![]));
    }

    #[test]
    fn a_path_parameter_is_handed_over_as_it_was_sent() {
        assert_eq!(router().find("GET", "/items/a%20b"), Match::Route(2, vec!["a%20b"]));
    }

    #[test]
    fn a_known_path_with_another_method_names_what_is_allowed() {
        assert_eq!(router().find("DELETE", "/items"), Match::MethodNotAllowed("GET, POST".into()));
    }

    #[test]
    fn an_unknown_path_is_not_found() {
        assert_eq!(router().find("GET", "/nothing"), Match::NotFound);
        assert_eq!(router().find("GET", "/items/1/2"), Match::NotFound);
    }

    #[test]
    fn of_two_routes_that_fit_the_first_declared_one_answers() {
        assert_eq!(router().find("GET", "/items/latest"), Match::Route(2, vec!["latest"]));
        let mut other = Router::default();
        other.add("GET", "/items/latest", 0).expect("a good pattern");
        other.add("GET", "/items/{item_id}", 1).expect("a good pattern");
        assert_eq!(other.find("GET", "/items/latest"), Match::Route(0, vec![]));
        assert_eq!(other.find("GET", "/items/7"), Match::Route(1, vec!["7"]));
        assert_eq!(other.find("PUT", "/items/7"), Match::MethodNotAllowed("GET".into()));
    }

    #[test]
    fn patterns_that_no_tree_can_hold_together_are_told_apart_by_order() {
        let mut other = Router::default();
        other.add("GET", "/{a}/x", 0).expect("a good pattern");
        other.add("GET", "/{b}/{c}", 1).expect("a good pattern");
        assert_eq!(other.find("GET", "/1/x"), Match::Route(0, vec!["1"]));
        assert_eq!(other.find("GET", "/1/y"), Match::Route(1, vec!["1", "y"]));
    }

    #[test]
    fn a_route_that_cannot_be_matched_here_is_handed_on_unless_one_declared_before_it_fits() {
        let mut router = Router::default();
        router.add("GET", "/static/logo", 0).expect("a good pattern");
        router.add_other("/static/{path:path}", 1);
        router.add_other("/v{version}/items", 2);
        router.add("GET", "/static/late", 3).expect("a good pattern");
        router.add("GET", "/items", 4).expect("a good pattern");
        assert_eq!(router.find("GET", "/static/logo"), Match::Route(0, vec![]));
        assert_eq!(router.find("GET", "/static/late"), Match::Other);
        assert_eq!(router.find("GET", "/static/a/b"), Match::Other);
        assert_eq!(router.find("GET", "/v1/items"), Match::Other);
        assert_eq!(router.find("GET", "/items"), Match::Route(4, vec![]));
        assert_eq!(router.find("GET", "/nothing"), Match::NotFound);
    }

    mod chosen_by_chance {
        use proptest::{collection::vec, prelude::*, sample::select};

        use super::{Match, Router};

        type Declared = (&'static str, Vec<&'static str>);

        /// What Starlette does: try each route in turn; the first that fits path and method answers.
        fn naive<'p>(routes: &[Declared], method: &str, path: &'p str) -> Match<'p> {
            let given: Vec<&str> = path[1..].split('/').collect();
            let is_parameter = |segment: &str| segment.starts_with('{');
            let fits = |pattern: &[&str]| {
                let fits_one = |(want, value): (&&str, &&str)| if is_parameter(want) { !value.is_empty() } else { want == value };
                pattern.len() == given.len() && pattern.iter().zip(&given).all(fits_one)
            };
            let mut allowed: Vec<&str> = Vec::new();
            for (number, (known, pattern)) in routes.iter().enumerate().filter(|(_, (_, pattern))| fits(pattern)) {
                if *known == method {
                    let values = pattern.iter().zip(&given).filter(|(want, _)| is_parameter(want)).map(|(_, value)| *value);
                    return Match::Route(number, values.collect());
                }
                allowed.push(known);
            }
            allowed.sort_unstable();
            allowed.dedup();
            if allowed.is_empty() { Match::NotFound } else { Match::MethodNotAllowed(allowed.join(", ")) }
        }

        fn segments() -> impl Strategy<Value = Vec<&'static str>> {
            vec(select(vec!["a", "b", "ab", "{x}", "{y}", ""]), 1..4)
        }

        fn routes() -> impl Strategy<Value = Vec<Declared>> {
            vec((select(vec!["GET", "POST"]), segments()), 1..8)
        }

        fn paths() -> impl Strategy<Value = String> {
            vec(select(vec!["a", "b", "ab", "c", "", "%2F", "ä", "{x}"]), 1..4).prop_map(|parts| format!("/{}", parts.join("/")))
        }

        fn built(routes: &[Declared]) -> Option<Router> {
            let mut router = Router::default();
            for (number, (method, pattern)) in routes.iter().enumerate() {
                router.add(method, &format!("/{}", pattern.join("/")), number).ok()?;
            }
            Some(router)
        }

        proptest! {
            #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

            #[test]
            fn a_request_goes_where_trying_each_route_in_turn_would_send_it(
                routes in routes(), method in select(vec!["GET", "POST", "PUT"]), paths in vec(paths(), 1..6)
            ) {
                let router = built(&routes);
                // Patterns that no router takes are refused at the start; most are taken, or this fails.
                prop_assume!(router.is_some());
                let router = router.unwrap_or_default();
                for path in &paths {
                    prop_assert_eq!(router.find(method, path), naive(&routes, method, path), "{:?} {} {}", &routes, method, path);
                }
            }

            #[test]
            fn any_path_is_taken(routes in routes(), method in ".{0,8}", path in "/.{0,40}") {
                if let Some(router) = built(&routes) {
                    prop_assert!(!matches!(router.find(&method, &path), Match::Other));
                }
            }
        }
    }
}
