//! What Kubernetes, the charts and Compose make of a manifest: variables and files. An entry that they don't know is an error.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_uid};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The Secrets of a namespace, and a place for the file systems of its containers.
pub struct Cluster {
    secrets: BTreeMap<String, BTreeMap<String, String>>,
    root: TempDir,
    pods: AtomicUsize,
}

/// A container as its process finds it.
pub struct Container {
    pub variables: Vec<(String, String)>,
    pub arguments: Vec<String>,
    pub volumes: Vec<Volume>,
    root: PathBuf,
    process: Process,
}

/// A Secret as the kubelet mounts it.
pub struct Volume {
    directory: PathBuf,
    secret: String,
    /// Keys, and the files that they become.
    items: Option<Vec<(String, String)>>,
    mode: u32,
    process: Process,
}

#[derive(Clone, Copy)]
struct Process {
    user: u32,
    fs_group: Option<u32>,
}

impl Cluster {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // Another user looks into it.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { secrets: BTreeMap::new(), root, pods: AtomicUsize::new(0) }
    }

    pub fn set_secret(&mut self, name: &str, key: &str, value: &str) {
        self.secrets.entry(name.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
    }

    /// Applies a Secret, or what makes an operator write one: `fill` is what its vault holds.
    pub fn apply(&mut self, document: &Value, fill: impl Fn(&str) -> String) {
        known(document, &["apiVersion", "kind", "metadata", "spec", "stringData", "data", "type"]);
        let name = text(&document["metadata"]["name"]);
        let spec = &document["spec"];
        match (text(&document["apiVersion"]), text(&document["kind"])) {
            ("v1", "Secret") => {
                for (key, value) in object(&document["stringData"]) {
                    self.set_secret(name, key, &fill(text(value)));
                }
                if let Some(data) = document["data"].as_object() {
                    for (key, value) in data {
                        let decoded = STANDARD.decode(text(value)).expect("base64");
                        self.set_secret(name, key, std::str::from_utf8(&decoded).unwrap());
                    }
                }
            }
            ("external-secrets.io/v1", "ExternalSecret") => {
                known(spec, &["refreshInterval", "secretStoreRef", "target", "data"]);
                assert!(spec["secretStoreRef"]["name"].is_string());
                for entry in list(&spec["data"]) {
                    known(entry, &["secretKey", "remoteRef"]);
                    assert!(entry["remoteRef"]["key"].is_string());
                    self.set_secret(text(&spec["target"]["name"]), text(&entry["secretKey"]), &fill(""));
                }
            }
            // The operator copies the fields of the entry.
            ("secrets.hashicorp.com/v1beta1", "VaultStaticSecret") => {
                known(spec, &["vaultAuthRef", "type", "mount", "path", "refreshAfter", "destination"]);
                assert_eq!(spec["destination"]["create"], true);
                self.set_secret(text(&spec["destination"]["name"]), "jwt-secret", &fill(""));
            }
            other => panic!("{other:?} is unknown"),
        }
    }

    /// Starts the one container of a Deployment.
    pub fn start(&self, deployment: &Value) -> Container {
        known(deployment, &["apiVersion", "kind", "metadata", "spec"]);
        assert_eq!((text(&deployment["apiVersion"]), text(&deployment["kind"])), ("apps/v1", "Deployment"));
        let spec = &deployment["spec"];
        known(spec, &["replicas", "selector", "template"]);
        assert_eq!(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]);
        self.start_pod(&spec["template"]["spec"])
    }

    fn start_pod(&self, pod: &Value) -> Container {
        known(pod, &["securityContext", "containers", "volumes"]);
        let context = &pod["securityContext"];
        if context.is_object() {
            known(context, &["runAsUser", "fsGroup"]);
        }
        let process =
            Process { user: id(&context["runAsUser"]).unwrap_or(0), fs_group: id(&context["fsGroup"]) };
        let [container] = list(&pod["containers"]) else { panic!("one container is expected") };
        known(container, &["name", "image", "env", "volumeMounts", "args"]);
        let root = self.root.path().join(self.pods.fetch_add(1, Ordering::Relaxed).to_string());
        let mut variables: Vec<(String, String)> =
            list(&container["env"]).iter().map(|entry| self.variable(entry)).collect();
        let volumes: Vec<Volume> = list(&container["volumeMounts"])
            .iter()
            .map(|mount| {
                known(mount, &["name", "mountPath", "readOnly"]);
                let mut named = list(&pod["volumes"]).iter().filter(|volume| volume["name"] == mount["name"]);
                let source = &named.next().expect("the volume of the mount")["secret"];
                Volume::new(inside(&root, text(&mount["mountPath"])), source, process)
            })
            .collect();
        for volume in &volumes {
            self.sync(volume);
        }
        for mount in list(&container["volumeMounts"]) {
            let path = text(&mount["mountPath"]);
            for (_, value) in &mut variables {
                *value = value.replace(path, inside(&root, path).to_str().unwrap());
            }
        }
        let arguments = list(&container["args"]).iter().map(|argument| text(argument).to_owned()).collect();
        Container { variables, arguments, volumes, root, process }
    }

    fn variable(&self, entry: &Value) -> (String, String) {
        known(entry, &["name", "value", "valueFrom"]);
        let value = match &entry["valueFrom"]["secretKeyRef"] {
            // A number or a truth value is refused here by Kubernetes.
            Value::Null => text(&entry["value"]).to_owned(),
            reference => {
                known(reference, &["name", "key"]);
                let secret = self.secrets.get(text(&reference["name"])).expect("the Secret");
                secret.get(text(&reference["key"])).expect("the key in the Secret").clone()
            }
        };
        (text(&entry["name"]).to_owned(), value)
    }

    /// Brings a volume up to date, as the kubelet does: the files are written beside the old ones, then one link is replaced.
    pub fn sync(&self, volume: &Volume) {
        let secret =
            self.secrets.get(&volume.secret).unwrap_or_else(|| panic!("no Secret {}", volume.secret));
        let all = || secret.keys().map(|key| (key.clone(), key.clone())).collect();
        let items = volume.items.clone().unwrap_or_else(all);
        let directory = &volume.directory;
        fs::create_dir_all(directory).unwrap();
        let before = fs::read_link(directory.join("..data")).ok();
        let written = format!("..2026_11_28_{}", self.pods.fetch_add(1, Ordering::Relaxed));
        for (key, path) in &items {
            let content = secret.get(key).unwrap_or_else(|| panic!("no key {key} in {}", volume.secret));
            let file = directory.join(&written).join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(volume.file_mode())).unwrap();
            if geteuid().is_root() {
                chown(&file, Some(0), volume.process.fs_group.or(Some(0))).unwrap();
            }
        }
        symlink(&written, directory.join("..data_tmp")).unwrap();
        fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
        for (_, path) in &items {
            let first = path.split('/').next().unwrap();
            let link = directory.join(first);
            if !link.is_symlink() {
                symlink(Path::new("..data").join(first), link).unwrap();
            }
        }
        if let Some(before) = before {
            fs::remove_dir_all(directory.join(before)).unwrap();
        }
    }
}

impl Container {
    /// A path of the container.
    pub fn path(&self, path: &str) -> PathBuf {
        inside(&self.root, path)
    }

    /// Runs this on a thread of the container's user, with a runtime, if whoever runs the tests may become that user.
    pub fn run<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        let Process { user, fs_group } = self.process;
        let on_thread = move || {
            if geteuid().is_root() && user != 0 {
                let groups: Vec<Gid> = fs_group.into_iter().map(Gid::from_raw).collect();
                set_thread_groups(&groups).unwrap();
                set_thread_uid(Uid::from_raw(user)).unwrap();
            }
            // Its threads have the user of this one.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(work())
        };
        std::thread::scope(|scope| scope.spawn(on_thread).join().unwrap())
    }
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().map(|id| id.try_into().unwrap())
}

impl Volume {
    fn new(directory: PathBuf, source: &Value, process: Process) -> Self {
        known(source, &["secretName", "defaultMode", "items"]);
        let items = source["items"].as_array().map(|items| {
            let item = |item: &Value| (text(&item["key"]).to_owned(), text(&item["path"]).to_owned());
            items.iter().map(item).collect()
        });
        // Kubernetes reads YAML 1.1, in which a leading 0 means octal; this parser reads 1.2.
        let octal = |mode: u64| u32::from_str_radix(&mode.to_string(), 8).unwrap();
        let mode = source["defaultMode"].as_u64().map_or(0o644, octal);
        let volume = Self { directory, secret: text(&source["secretName"]).to_owned(), items, mode, process };
        // The files are root's, and the group's that `fsGroup` names.
        let bit = match process {
            Process { user: 0, .. } => 0o400,
            Process { fs_group: Some(_), .. } => 0o040,
            _ => 0o004,
        };
        assert!(volume.file_mode() & bit != 0, "the process can't read {:o}", volume.file_mode());
        volume
    }

    /// With `fsGroup` the kubelet lets the group read.
    fn file_mode(&self) -> u32 {
        self.mode | self.process.fs_group.map_or(0, |_| 0o440)
    }
}

/// The Deployment that a chart makes of its values, of one of Airflow's components.
pub fn airflow_component(values: &Value) -> Value {
    let (mut env, mut extra) = (Vec::new(), (json!([]), json!([])));
    let from_secret = |name: &Value, key: &Value| json!({ "name": SECRET, "valueFrom": { "secretKeyRef": { "name": name, "key": key } } });
    match values.get("airflow") {
        Some(airflow) => {
            known(
                airflow,
                &[
                    "jwtSecret",
                    "jwtSecretName",
                    "jwtSecretKey",
                    "config",
                    "extraVolumes",
                    "extraVolumeMounts",
                ],
            );
            if let Some(secret) = airflow.get("jwtSecret") {
                env.push(json!({ "name": SECRET, "value": secret }));
            }
            if let Some(name) = airflow.get("jwtSecretName") {
                env.push(from_secret(name, &airflow["jwtSecretKey"]));
            }
            for (name, value) in airflow["config"].as_object().into_iter().flatten() {
                env.push(json!({ "name": name, "value": value }));
            }
            let given = |name: &str| airflow.get(name).cloned().unwrap_or(json!([]));
            extra = (given("extraVolumes"), given("extraVolumeMounts"));
        }
        // The official chart.
        None => {
            known(values, &["jwtSecretName"]);
            env.push(from_secret(&values["jwtSecretName"], &json!("jwt-secret")));
        }
    }
    let container = json!({ "name": "scheduler", "image": "airflow", "env": env, "volumeMounts": extra.1 });
    let labels = json!({ "component": "scheduler" });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "scheduler" },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [container], "volumes": extra.0 },
            },
        },
    })
}

const SECRET: &str = "AIRFLOW__API_AUTH__JWT_SECRET";

/// Starts the one service of a Compose file. `project` holds the files beside it, and `env` is the text of `.env`.
pub fn compose(file: &Value, project: &Path, env: &str) -> Result<Container, String> {
    known(file, &["services", "volumes"]);
    let [service] = &object(&file["services"]).values().collect::<Vec<_>>()[..] else {
        panic!("one service")
    };
    known(service, &["image", "command", "environment", "volumes"]);
    let root = project.join("container");
    let given: BTreeMap<&str, &str> = env.lines().filter_map(|line| line.split_once('=')).collect();
    let mut variables = Vec::new();
    for entry in list(&service["environment"]) {
        let (name, value) = text(entry).split_once('=').expect("NAME=VALUE");
        variables.push((name.to_owned(), interpolated(value, &given)?));
    }
    for volume in list(&service["volumes"]) {
        let parts: Vec<&str> = text(volume).split(':').collect();
        let target = inside(&root, parts[1]);
        match parts[0].strip_prefix("./") {
            // A bind mount is the same file.
            Some(source) => {
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::hard_link(project.join(source), &target).unwrap();
            }
            None => {
                assert!(object(&file["volumes"]).contains_key(parts[0]), "{} is not declared", parts[0]);
                fs::create_dir_all(&target).unwrap();
            }
        }
        let mounted = if parts[0].starts_with("./") {
            Path::new(parts[1]).parent().unwrap()
        } else {
            Path::new(parts[1])
        };
        let mounted = mounted.to_str().unwrap();
        for (_, value) in &mut variables {
            if value == mounted {
                *value = inside(&root, mounted).to_str().unwrap().to_owned();
            }
        }
    }
    let arguments = service["command"].as_array().into_iter().flatten();
    let arguments = arguments.map(|argument| text(argument).to_owned()).collect();
    Ok(Container {
        variables,
        arguments,
        volumes: Vec::new(),
        root,
        process: Process { user: 0, fs_group: None },
    })
}

/// `${NAME}` and `${NAME:?message}`.
fn interpolated(value: &str, given: &BTreeMap<&str, &str>) -> Result<String, String> {
    let Some(reference) = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        assert!(!value.contains('$'), "{value}");
        return Ok(value.to_owned());
    };
    let (name, message) = reference.split_once(":?").map_or((reference, None), |(name, m)| (name, Some(m)));
    match (given.get(name).filter(|value| !value.is_empty()), message) {
        (Some(value), _) => Ok((*value).to_owned()),
        (None, Some(message)) => Err(format!("required variable {name} is missing a value: {message}")),
        (None, None) => Ok(String::new()),
    }
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.strip_prefix('/').expect("an absolute path"))
}

fn known(value: &Value, names: &[&str]) {
    for name in object(value).keys() {
        assert!(names.contains(&name.as_str()), "{name:?} is unknown: {value}");
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("a mapping is expected: {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text is expected: {value}"))
}

/// An absent list is an empty one.
fn list(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        value => value.as_array().unwrap_or_else(|| panic!("a list is expected: {value}")),
    }
}
