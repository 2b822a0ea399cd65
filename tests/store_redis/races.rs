//! Many callers at once: tasks, and processes.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_parallel_rotations_one_is_recorded_and_all_learn_it() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    for round in 0..20 {
        let scene = Scene::new(round);
        if round % 2 == 0 {
            scene.sign_in(&store).await;
        }
        let rivals = (1..=1_000).map(|rival| {
            let store = store.clone();
            tokio::spawn(async move { (rival, scene.renew(&store, 0, rival).await) })
        });
        let mut recorded = Vec::new();
        let mut learnt = BTreeSet::new();
        for rival in rivals.collect::<Vec<_>>() {
            match rival.await.unwrap() {
                (rival, Rotated::Recorded) => recorded.push(claims(rival)),
                (_, Rotated::Superseded { head }) => _ = learnt.insert(head.to_string()),
                (_, other) => panic!("round {round}: {other:?}"),
            }
        }
        assert_eq!(recorded.len(), 1, "round {round}");
        assert_eq!(learnt.into_iter().collect::<Vec<_>>(), recorded, "round {round}");
    }
}

const ROUNDS: u64 = 200;
const PROCESSES: u64 = 4;

#[tokio::test]
async fn of_four_processes_one_records_and_all_learn_it() {
    let server = RedisServer::start(&[]);
    let workers = (1..=PROCESSES).map(|rival| {
        Command::new(std::env::current_exe().unwrap())
            .args(["races::one_of_four_processes", "--exact", "--nocapture", "--test-threads", "1"])
            .env("TOWER_REISSUE_RIVAL", rival.to_string())
            .env("TOWER_REISSUE_REDIS", server.url())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let mut recorded = BTreeMap::<u64, Vec<String>>::new();
    let mut learnt = BTreeMap::<u64, Vec<String>>::new();
    for worker in workers.collect::<Vec<_>>() {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let words = line.split(' ').collect::<Vec<_>>();
            if let ["round", round, outcome, head] = words[..] {
                let round = round.parse().unwrap();
                learnt.entry(round).or_default().push(head.to_owned());
                if outcome == "recorded" {
                    recorded.entry(round).or_default().push(head.to_owned());
                }
            }
        }
    }
    for round in 0..ROUNDS {
        assert_eq!(recorded[&round].len(), 1, "round {round}");
        assert_eq!(learnt[&round], vec![recorded[&round][0].clone(); 4], "round {round}");
    }
}

/// A worker of the test above; by itself it does nothing.
#[tokio::test]
async fn one_of_four_processes() {
    let (Ok(rival), Ok(url)) = (std::env::var("TOWER_REISSUE_RIVAL"), std::env::var("TOWER_REISSUE_REDIS"))
    else {
        return;
    };
    let rival = rival.parse().unwrap();
    let store = RedisStore::connect(&url).await.unwrap();
    let mut barrier = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    println!();
    for round in 0..ROUNDS {
        let gate = format!("round {round}");
        let mut arrived: u64 = redis::cmd("INCR").arg(&gate).query_async(&mut barrier).await.unwrap();
        while arrived < PROCESSES {
            arrived = redis::cmd("GET").arg(&gate).query_async(&mut barrier).await.unwrap();
        }
        match Scene::new(round).renew(&store, 0, rival).await {
            Rotated::Recorded => println!("round {round} recorded {}", claims(rival)),
            Rotated::Superseded { head } => println!("round {round} superseded {head}"),
            other => panic!("{other:?}"),
        }
    }
}
