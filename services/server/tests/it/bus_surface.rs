//! What the bus offers to whoever reaches its port: TLS, one listener, small messages.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use borealis_test_support::{TestBus, TestDevice};

#[tokio::test]
async fn without_tls_nothing_is_said() {
    let bus = TestBus::start().await.unwrap();
    let address = bus.url().replace("tls://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
        .write_all(b"CONNECT {\"verbose\":false}\r\nSUB > 1\r\nPING\r\n")
        .unwrap();
    let mut said = Vec::new();
    // The bus may cut the connection instead of closing it.
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("\"tls_required\":true"), "{said}");
    assert!(!said.contains("PONG"), "{said}");
}

#[tokio::test]
async fn there_is_one_listener_and_it_is_the_bus() {
    let bus = TestBus::start().await.unwrap();
    let port: u16 = bus.url().rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(listening_ports(bus.pid().unwrap()), [port]);
}

#[tokio::test]
async fn what_is_larger_than_a_megabyte_is_refused() {
    let bus = TestBus::start().await.unwrap();
    let own = TestDevice::draw();
    let device = bus.connect_device(&own).await.unwrap();
    let tell = format!("borealis.v1.device.{}.tell.agent.hello", own.guid);
    assert!(device.publish(&tell, &vec![0; (1 << 20) + 1]).await.is_err());
    device.publish(&tell, &vec![0; 1 << 20]).await.unwrap();
    assert!(device.is_connected());
}

/// Returns the TCP ports on which a process listens.
fn listening_ports(pid: u32) -> Vec<u16> {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(&"0A"), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else {
                continue;
            };
            if sockets.iter().any(|socket| socket == inode) {
                let hex = local.rsplit_once(':').unwrap().1;
                ports.push(u16::from_str_radix(hex, 16).unwrap());
            }
        }
    }
    ports
}
