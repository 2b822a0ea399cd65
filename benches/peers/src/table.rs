//! The one table: what each contender adds to its floor, and how many times what this crate adds.

use tower_reissue::Algorithm;

use crate::contenders::OURS;
use crate::support::verdict;

pub struct Column {
    pub algorithm: Algorithm,
    pub rows: Vec<Row>,
}

pub struct Row {
    pub name: &'static str,
    /// Nanoseconds a request.
    pub whole: f64,
    /// Nanoseconds a request over the contender's own floor.
    pub over_floor: f64,
}

impl Row {
    fn is_floor(&self) -> bool {
        self.name.starts_with("floor")
    }

    fn is_peer(&self) -> bool {
        !self.is_floor() && !self.name.starts_with("tower-reissue")
    }
}

pub fn print(columns: &[Column]) {
    println!(
        "Nanoseconds over the floor (a floor: in all), and how many times {OURS:?}; CPU time, medians.\n"
    );
    print!("{:<52}", "");
    for column in columns {
        print!("{:>20}", format!("{:?}", column.algorithm));
    }
    println!();
    for at in 0..columns[0].rows.len() {
        print!("{:<52}", columns[0].rows[at].name);
        for column in columns {
            print!("{:>20}", cell(&column.rows[at], ours(column)));
        }
        println!();
    }
    println!();
    for column in columns {
        let ours = ours(column);
        let peers = column.rows.iter().filter(|row| row.is_peer());
        let fastest = peers.min_by(|a, b| a.over_floor.total_cmp(&b.over_floor)).expect("a peer");
        let times = fastest.over_floor / ours;
        println!(
            "{:<6} over the floor {ours:.0} ns (<= 200: {}); the fastest peer, {}, {times:.0} x{}",
            format!("{:?}", column.algorithm),
            verdict(ours, 200.0),
            fastest.name,
            match least(column.algorithm) {
                Some(least) => format!(" (>= {least}: {})", verdict(least, times)),
                None => String::new(),
            }
        );
    }
}

/// How many times as much the fastest peer must add.
fn least(algorithm: Algorithm) -> Option<f64> {
    match algorithm {
        Algorithm::HS256 => Some(20.0),
        Algorithm::RS256 => Some(150.0),
        Algorithm::ES256 => Some(400.0),
        _ => None,
    }
}

fn ours(column: &Column) -> f64 {
    column.rows.iter().find(|row| row.name == OURS).expect("this crate").over_floor
}

fn cell(row: &Row, ours: f64) -> String {
    if row.is_floor() {
        return format!("{:.0}        ", row.whole);
    }
    format!("{:.0}{:>8}", row.over_floor, format!("{:.1} x", row.over_floor / ours))
}
