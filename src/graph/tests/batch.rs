//! Batches: what is asked for each message, and one outcome for each.

use super::*;

fn update(id: &str) -> Update {
    Update { id: id.into(), mark_read: true, categories: None, move_to: None }
}

#[tokio::test]
async fn each_message_has_its_own_outcome() {
    let fake = Fake::always(
        200,
        r#"{"responses":[
            {"id":"5","status":503,"body":{"error":{"code":"ServiceUnavailable"}}},
            {"id":"0","status":200,"headers":{"Content-Type":"application/json"},"body":{"id":"m0","isRead":true}},
            {"id":"1","status":429,"headers":{"retry-After":"2.5"},"body":{"error":{"code":"ApplicationThrottled"}}},
            {"id":"2","status":404,"headers":{"request-id":"r-2"},"body":{"error":{"code":"ErrorItemNotFound"}}},
            {"id":"3","status":424,"body":{"error":{"code":"FailedDependency"}}},
            {"id":"strange"},{"id":"77","status":200}
        ]}"#,
    )
    .await;
    let updates: Vec<_> = ["m0", "m1", "m2", "m3", "m4", "m5", ".."].map(update).to_vec();
    let outcomes = fake.graph.update_batch(&support(), &updates).await;
    assert_eq!(outcomes.len(), 7);
    assert!(outcomes[0].is_ok());
    assert!(matches!(&outcomes[1], Err(GraphError::Throttled { after }) if after.as_millis() == 2500));
    assert!(matches!(&outcomes[2], Err(GraphError::NotFound(refusal)) if refusal.request_id == "r-2"));
    assert!(matches!(&outcomes[3], Err(GraphError::Unavailable { .. })));
    assert!(matches!(&outcomes[4], Err(GraphError::BadAnswer { .. })), "no answer is no success");
    assert!(matches!(&outcomes[5], Err(GraphError::Unavailable { .. })));
    assert!(matches!(&outcomes[6], Err(GraphError::LeadsElsewhere)));
    assert_eq!(fake.request(0).2["requests"].as_array().unwrap().len(), 6);
    assert!(
        matches!(fake.graph.message(&support(), "m0").await, Err(GraphError::Throttled { .. })),
        "a throttled item closes the mailbox like any other 429"
    );
}

#[tokio::test]
async fn a_move_waits_for_the_change_before_it() {
    let fake = Fake::always(
        200,
        r#"{"responses":[{"id":"0","status":200},{"id":"1","status":201,"body":{}},
            {"id":"2","status":404,"body":{"error":{"code":"ErrorItemNotFound"}}},{"id":"3","status":424}]}"#,
    )
    .await;
    let mut moved = Update { move_to: Some("archive".into()), ..update("m=1") };
    moved.categories = Some(vec!["Mailspan: delivered".into()]);
    let gone = Update { move_to: Some("archive".into()), ..update("m2") };
    let nothing = Update { mark_read: false, ..update("m3") };
    let outcomes = fake.graph.update_batch(&support(), &[moved, gone, nothing]).await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert!(matches!(&outcomes[1], Err(GraphError::NotFound(_))), "the cause, not the 424 that follows from it");

    let (method, path, body) = fake.request(0);
    assert_eq!((method.as_str(), path.as_str()), ("POST", "/v1.0/$batch"));
    let headers = serde_json::json!({
        "Prefer": "IdType=\"ImmutableId\", return=minimal", "Content-Type": "application/json"
    });
    assert_eq!(
        body["requests"].as_array().unwrap()[..2],
        [
            serde_json::json!({
                "id": "0", "method": "PATCH", "url": "/users/support@contoso.com/messages/m%3D1", "headers": headers,
                "body": {"isRead": true, "categories": ["Mailspan: delivered"]},
            }),
            serde_json::json!({
                "id": "1", "method": "POST", "url": "/users/support@contoso.com/messages/m%3D1/move",
                "headers": headers, "body": {"destinationId": "archive"}, "dependsOn": ["0"],
            }),
        ]
    );
}

#[tokio::test]
async fn more_than_a_batch_holds_becomes_several() {
    let fake = Fake::start(|_, _, body: Bytes| async move {
        let asked: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let asked = asked["requests"].as_array().unwrap();
        let answers: Vec<_> = asked.iter().map(|it| serde_json::json!({"id": it["id"], "status": 200})).collect();
        json(200, serde_json::json!({ "responses": answers }).to_string())
    })
    .await;
    let both = |number: usize| Update { move_to: Some("archive".into()), ..update(&format!("m{number}")) };
    let mut updates: Vec<_> = (0..25).map(|number| update(&format!("m{number}"))).collect();
    updates.extend((25..35).map(both));
    let outcomes = fake.graph.update_batch(&support(), &updates).await;
    assert!(outcomes.len() == 35 && outcomes.iter().all(Result::is_ok));
    let sizes: Vec<_> =
        (0..fake.requests()).map(|it| fake.request(it).2["requests"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [20, 19, 6], "a change and its move stay together");
    assert!(fake.graph.update_batch(&support(), &[]).await.is_empty());
}

#[tokio::test]
async fn a_batch_that_fails_as_a_whole_fails_each_of_its_items() {
    let fake = Fake::always(503, "").await;
    let outcomes = fake.graph.update_batch(&support(), &[update("m1"), update("m2")]).await;
    assert!(outcomes.iter().all(|it| matches!(it, Err(GraphError::Unavailable { .. }))) && outcomes.len() == 2);
}

#[tokio::test]
async fn categories_are_read_for_each_message() {
    let fake = Fake::always(
        200,
        r#"{"responses":[{"id":"1","status":200,"body":{"id":"m2"}},
            {"id":"0","status":200,"body":{"id":"m1","categories":["Blue","Grüße"]}},
            {"id":"2","status":404,"body":null}]}"#,
    )
    .await;
    let outcomes = fake.graph.categories(&support(), &["m1", "m2", "m3"]).await;
    assert_eq!(outcomes[0].as_ref().unwrap(), &["Blue", "Grüße"]);
    assert!(outcomes[1].as_ref().unwrap().is_empty());
    assert!(matches!(&outcomes[2], Err(GraphError::NotFound(_))));
    let ask = &fake.request(0).2["requests"][0];
    assert_eq!(ask["url"], "/users/support@contoso.com/messages/m1?$select=id,categories");
    assert_eq!(ask["headers"], serde_json::json!({"Prefer": "IdType=\"ImmutableId\""}));
}
