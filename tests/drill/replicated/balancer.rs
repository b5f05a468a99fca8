//! What stands before replicas: each connection goes to one of them by chance, and to another if that one is not there.
//!
//! It asks nobody how they are, so a replica that sleeps gets its share and says nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// A balancer that listens as long as the drill runs.
pub(crate) struct Balancer(SocketAddr);

impl Balancer {
    pub(crate) async fn before(replicas: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut replicas = replicas.clone();
                fastrand::shuffle(&mut replicas);
                tokio::spawn(async move {
                    for replica in replicas {
                        let connect = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(replica));
                        if let Ok(Ok(mut there)) = connect.await {
                            // Either side may be killed at any time.
                            let _ = copy_bidirectional(&mut client, &mut there).await;
                            return;
                        }
                    }
                });
            }
        });
        Self(address)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0)
    }
}
