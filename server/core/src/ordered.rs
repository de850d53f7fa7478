//! Things that come and go, found by number and walked oldest first; every step takes constant time.

const NONE: u32 = u32::MAX;

struct Place<T> {
    value: Option<T>,
    /// The place that was filled before this one; of an empty place, the next empty one.
    before: u32,
    after: u32,
}

/// A slab whose values are linked in the order in which they came.
pub struct Ordered<T> {
    places: Vec<Place<T>>,
    empty: u32,
    oldest: u32,
    newest: u32,
    len: usize,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { places: Vec::new(), empty: NONE, oldest: NONE, newest: NONE, len: 0 }
    }
}

impl<T> Ordered<T> {
    /// The number that the next value will have.
    #[must_use]
    pub fn next_number(&self) -> usize {
        if self.empty == NONE { self.places.len() } else { self.empty as usize }
    }

    /// Adds a value as the newest one and returns its number.
    ///
    /// # Panics
    /// With 4,294,967,295 values, which need more memory than such a machine has.
    #[allow(clippy::expect_used, reason = "said above")]
    pub fn insert(&mut self, value: T) -> usize {
        let number = self.next_number();
        let link = u32::try_from(number).ok().filter(|link| *link != NONE).expect("fewer values than 32 bits can number");
        let place = Place { value: Some(value), before: self.newest, after: NONE };
        if number == self.places.len() {
            self.places.push(place);
        } else {
            self.empty = self.places[number].before;
            self.places[number] = place;
        }
        match self.places.get_mut(self.newest as usize) {
            Some(newest) => newest.after = link,
            None => self.oldest = link,
        }
        self.newest = link;
        self.len += 1;
        number
    }

    /// Takes a value out. None: there is none with this number.
    pub fn remove(&mut self, number: usize) -> Option<T> {
        let place = self.places.get_mut(number)?;
        let value = place.value.take()?;
        let (before, after) = (place.before, place.after);
        place.before = self.empty;
        // The number is in use, so it fits.
        self.empty = u32::try_from(number).unwrap_or(NONE);
        match self.places.get_mut(before as usize) {
            Some(earlier) => earlier.after = after,
            None => self.oldest = after,
        }
        match self.places.get_mut(after as usize) {
            Some(later) => later.before = before,
            None => self.newest = before,
        }
        self.len -= 1;
        Some(value)
    }

    /// The values, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let mut next = self.oldest;
        std::iter::from_fn(move || {
            let place = self.places.get(next as usize)?;
            next = place.after;
            place.value.as_ref()
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Ordered;

    #[test]
    fn values_are_walked_in_the_order_in_which_they_came_whatever_left_meanwhile() {
        let (mut ordered, mut model) = (Ordered::default(), Vec::new());
        let mut random = 7_u64;
        for round in 0..10_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if random >> 63 == 0 || model.is_empty() {
                let expected = ordered.next_number();
                let number = ordered.insert(round);
                assert_eq!(number, expected);
                model.push((number, round));
            } else {
                let (number, value) = model.remove(usize::try_from(random >> 33).expect("small") % model.len());
                assert_eq!(ordered.remove(number), Some(value));
                assert_eq!(ordered.remove(number), None);
            }
            assert_eq!(ordered.len(), model.len());
        }
        assert!(ordered.iter().eq(model.iter().map(|(_, value)| value)));
        assert!(ordered.places.len() < 1_000, "places are used again");
    }
}
