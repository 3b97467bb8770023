use prost::Message;

use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const POD: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

/// A protobuf field with this number, which contains bytes.
fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    assert!(length < 128);
    [tag(number, 2).as_slice(), &[length], value].concat()
}

/// A protobuf field with this number, which contains a small number.
fn number(number: u8, value: u8) -> Vec<u8> {
    assert!(value < 128);
    [tag(number, 0), vec![value]].concat()
}

fn tag(number: u8, kind: u8) -> Vec<u8> {
    match number {
        ..16 => vec![number << 3 | kind],
        _ => vec![(number & 15) << 3 | kind | 128, number >> 4],
    }
}

/// The numbers are repeated from api.proto: a wrong number would not be noticed if both ends used the same messages.
#[test]
fn reads_the_fields_of_the_interface_by_their_numbers() {
    let labels = |field| {
        let label = |name: &str, value: &[u8]| {
            let pair = [bytes(1, name.as_bytes()), bytes(2, value)].concat();
            bytes(field, &pair)
        };
        [
            label("io.kubernetes.pod.name", b"web-1"),
            label("io.kubernetes.pod.namespace", b"shop"),
            label("io.kubernetes.pod.uid", POD.as_bytes()),
        ]
        .concat()
    };
    let metadata = [bytes(1, b"nginx"), number(2, 4)].concat();
    let image = [bytes(1, b"sha256:1234"), bytes(18, b"nginx:1")].concat();
    let listed = [
        bytes(1, A.as_bytes()),
        bytes(2, B.as_bytes()),
        bytes(3, &metadata),
        bytes(4, &image),
        bytes(5, b"nginx@sha256:5678"),
        number(6, 2),
        number(7, 100),
        labels(8),
        bytes(9, b""),
        bytes(10, b"image id"),
    ];
    let listed = messages::Container::decode(listed.concat().as_slice()).unwrap();
    let listed = Container::from(listed);
    let expected = Container {
        id: A.into(),
        pod_uid: POD.into(),
        namespace: "shop".into(),
        pod_name: "web-1".into(),
        name: "nginx".into(),
        attempt: 4,
        state: State::Exited,
        created_at: Some(100),
        image: "nginx:1".into(),
        image_id: "nginx@sha256:5678".into(),
    };
    assert_eq!(listed, expected);

    let status = [
        bytes(1, A.as_bytes()),
        bytes(2, &metadata),
        number(3, 2),
        number(4, 100),
        number(5, 101),
        number(6, 102),
        number(7, 127),
        bytes(8, &image),
        bytes(9, b"nginx@sha256:5678"),
        bytes(10, b"Error"),
        bytes(11, b"message"),
        labels(12),
        bytes(15, b"log path"),
        number(19, 15),
    ];
    let status = messages::ContainerStatus::decode(status.concat().as_slice()).unwrap();
    let expected = Status {
        container: expected,
        started_at: Some(101),
        finished_at: Some(102),
        exit_code: Some(127),
        reason: "Error".into(),
        message: "message".into(),
    };
    assert_eq!(Status::from(status), expected);

    let metadata = [
        bytes(1, b"web-1"),
        bytes(2, POD.as_bytes()),
        bytes(3, b"shop"),
        number(4, 1),
    ];
    let label = [bytes(1, b"app"), bytes(2, b"web")].concat();
    let annotation = [bytes(1, b"lastword.dev/capture"), bytes(2, b"off")].concat();
    let sandbox = [
        bytes(1, B.as_bytes()),
        bytes(2, &metadata.concat()),
        number(3, 1),
        number(4, 100),
        bytes(5, &label),
        labels(5),
        bytes(6, &annotation),
    ];
    let sandbox = messages::PodSandbox::decode(sandbox.concat().as_slice()).unwrap();
    let expected = Sandbox {
        id: B.into(),
        pod_uid: POD.into(),
        namespace: "shop".into(),
        pod_name: "web-1".into(),
        ready: false,
        labels: [("app".into(), "web".into())].into(),
        annotations: [("lastword.dev/capture".into(), "off".into())].into(),
    };
    assert_eq!(Sandbox::from(sandbox), expected);
}
