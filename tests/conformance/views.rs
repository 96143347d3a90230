//! Read models, credentials, secrets and values of the installation.

use harness::databases::TestStore;
use shared::{
    clock::{Clock, SystemClock},
    commit::{Sealed, SecretChange},
    domain::organization::{Command, Member, Role, Token},
    ids::{AgentId, MemberId, OperationId, OrganizationId, TokenId},
    install::{found, manage},
    store::{Claim, Credential},
    token,
    view::Row,
};

use crate::{append, at, backends, gateway, job, organization};

fn gateway_row(number: u128, owner: OrganizationId, second: i64) -> Row {
    let document = format!("{{\"n\":{number}}}");
    Row::Gateway { id: gateway(number), organization: owner, created_at: at(second), document }
}

#[tokio::test]
async fn gateways_are_listed_newest_first_and_only_to_their_organization() {
    for (name, test) in backends().await {
        let store = &test.store;
        let mut commit = append(1, 0, 1);
        commit.rows = (1..=5)
            .map(|number| gateway_row(number, organization(1), i64::try_from(number).unwrap()))
            .collect();
        commit.rows.push(gateway_row(9, organization(2), 9));
        store.commit(commit).await.unwrap();
        let page = store.gateways(organization(1), 2, 1).await.unwrap();
        assert_eq!(
            (page.items, page.total),
            (vec!["{\"n\":4}".to_owned(), "{\"n\":3}".to_owned()], 5),
            "{name}"
        );
        assert_eq!(store.gateway(organization(1), gateway(9)).await.unwrap(), None, "{name}");
        assert!(store.gateway(organization(2), gateway(9)).await.unwrap().is_some(), "{name}");
    }
}

#[tokio::test]
async fn a_removed_gateway_takes_its_agent_along() {
    for (name, test) in backends().await {
        let store = &test.store;
        let agent = AgentId::mint(at(0));
        let mut commit = append(1, 0, 1);
        let agent_row = Row::Agent {
            id: agent,
            organization: organization(1),
            gateway: gateway(1),
            created_at: at(0),
            document: "{}".to_owned(),
        };
        commit.rows = vec![gateway_row(1, organization(1), 1), gateway_row(2, organization(1), 2), agent_row];
        store.commit(commit).await.unwrap();
        assert!(store.agent(organization(1), agent).await.unwrap().is_some(), "{name}");
        let mut commit = append(1, 1, 2);
        commit.rows = vec![Row::GatewayGone { id: gateway(1), agent }];
        store.commit(commit).await.unwrap();
        assert_eq!(store.agent(organization(1), agent).await.unwrap(), None, "{name}");
        let page = store.gateways(organization(1), 9, 0).await.unwrap();
        assert_eq!((page.items, page.total), (vec!["{\"n\":2}".to_owned()], 1), "{name}");
    }
}

#[tokio::test]
async fn operations_are_listed_newest_first_by_status_and_cursor() {
    for (name, test) in backends().await {
        let store = &test.store;
        test.set_time(at(0)).await;
        let mut commit = append(1, 0, 1);
        commit.rows = [(1, 1), (2, 2), (3, 2), (4, 4)]
            .map(|(number, second)| Row::Operation {
                id: OperationId::from(uuid::Uuid::from_u128(number)),
                organization: organization(1),
                gateway: gateway(number),
                status: if number == 4 { "succeeded" } else { "pending" },
                created_at: at(second),
                document: "{}".to_owned(),
            })
            .into();
        commit.jobs = vec![job(2, "a", at(0))];
        store.commit(commit).await.unwrap();
        let claim = Claim {
            worker: "w".to_owned(),
            permits: 1,
            lease: std::time::Duration::from_secs(8),
            now: at(0),
        };
        assert_eq!(store.claim(claim).await.unwrap().len(), 1, "{name}");
        let list = async |status, before| {
            let page = store.operations_page(organization(1), status, before, 9).await.unwrap();
            page.iter().map(|operation| operation.id.uuid().as_u128()).collect::<Vec<_>>()
        };
        assert_eq!(list(None, None).await, [4, 3, 2, 1], "{name}");
        let cursor = (at(2), OperationId::from(uuid::Uuid::from_u128(3)));
        assert_eq!(
            list(None, Some(cursor)).await,
            [2, 1],
            "{name}: older than the third, of the same second"
        );
        assert_eq!(list(Some("pending"), None).await, [3, 1], "{name}: the second one is being worked on");
        assert_eq!(list(Some("running"), None).await, [2], "{name}");
        let others = store.operations_page(organization(2), None, None, 9).await.unwrap();
        assert!(others.is_empty(), "{name}");
        let known = store.operation(OperationId::from(uuid::Uuid::from_u128(2))).await.unwrap().unwrap();
        assert!(known.running && known.created_at == at(2), "{name}: {known:?}");
    }
}

#[tokio::test]
async fn the_last_look_at_a_gateway_is_kept() {
    for (name, test) in backends().await {
        let store = &test.store;
        assert_eq!(store.observation(gateway(1)).await.unwrap(), None, "{name}");
        for look in ["{\"n\":1}", "{\"n\":2}"] {
            store.observe(gateway(1), look.to_owned()).await.unwrap();
            assert_eq!(store.observation(gateway(1)).await.unwrap().as_deref(), Some(look), "{name}");
        }
    }
}

#[tokio::test]
async fn the_last_row_of_an_id_wins_within_a_commit() {
    for (name, test) in backends().await {
        let mut commit = append(1, 0, 1);
        let changed = Row::Gateway {
            id: gateway(1),
            organization: organization(1),
            created_at: at(1),
            document: "{\"n\":2}".to_owned(),
        };
        commit.rows = vec![gateway_row(1, organization(1), 1), changed];
        test.store.commit(commit).await.unwrap();
        let read = test.store.gateway(organization(1), gateway(1)).await.unwrap();
        assert_eq!(read.as_deref(), Some("{\"n\":2}"), "{name}");
    }
}

#[tokio::test]
async fn secrets_are_put_replaced_and_erased() {
    for (name, test) in backends().await {
        let store = &test.store;
        let sealed =
            |byte: u8| Sealed { key_id: "k".to_owned(), nonce: vec![byte; 12], ciphertext: vec![byte] };
        for (expected, byte) in [(0, 1), (1, 2)] {
            let mut commit = append(1, expected, u128::from(byte));
            commit.secrets = vec![SecretChange::Put { owner: "g/token".to_owned(), sealed: sealed(byte) }];
            store.commit(commit).await.unwrap();
            assert_eq!(store.secret("g/token").await.unwrap(), Some(sealed(byte)), "{name}");
        }
        let mut commit = append(1, 2, 3);
        commit.secrets = vec![SecretChange::Erase { owner: "g/token".to_owned() }];
        store.commit(commit).await.unwrap();
        assert_eq!(store.secret("g/token").await.unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn a_value_of_the_installation_is_put_once() {
    for (name, test) in backends().await {
        let store = &test.store;
        assert_eq!(store.installation_value("a", None).await.unwrap(), None, "{name}");
        assert_eq!(store.installation_value("a", Some("1")).await.unwrap().as_deref(), Some("1"), "{name}");
        assert_eq!(store.installation_value("a", Some("2")).await.unwrap().as_deref(), Some("1"), "{name}");
    }
}

/// Role and operator flag behind a token, as the store tells them.
async fn whose(test: &TestStore, secret: &shared::secret::Secret) -> Option<(Option<Role>, bool)> {
    match test.store.credential(&token::hash(secret.expose())).await.unwrap()? {
        Credential::Token { token, member, .. } => Some((member.map(|(_, role)| role), token.operator)),
        Credential::Agent { .. } => None,
    }
}

#[tokio::test]
async fn a_token_speaks_for_its_member_until_it_is_revoked() {
    for (name, test) in backends().await {
        let store = test.store.as_ref();
        let owner_token = token::api();
        assert!(found(store, &SystemClock, &owner_token).await.unwrap(), "{name}");
        assert!(!found(store, &SystemClock, &token::api()).await.unwrap(), "{name}: founded twice");
        assert_eq!(whose(&test, &owner_token).await, Some((Some(Role::Owner), true)), "{name}");
        assert_eq!(whose(&test, &token::api()).await, None, "{name}");

        let organization = store.organizations().await.unwrap().remove(0).id;
        let member = MemberId::mint(SystemClock.now());
        let id = TokenId::mint(SystemClock.now());
        let ada = Member { member, name: "Ada".to_owned(), role: Role::Member };
        let issued = Token { token: id, member: Some(member), role: None, operator: false, expires_at: None };
        let secret = token::api();
        let orders = vec![Command::AddMember(ada), Command::IssueToken(issued)];
        manage(store, &SystemClock, Some(organization), orders, Some(&secret)).await.unwrap();
        assert_eq!(whose(&test, &secret).await, Some((Some(Role::Member), false)), "{name}");
        let promote = vec![Command::SetRole { member, role: Role::Admin }];
        manage(store, &SystemClock, Some(organization), promote, None).await.unwrap();
        assert_eq!(whose(&test, &secret).await, Some((Some(Role::Admin), false)), "{name}");
        assert_eq!(store.token_owner(id).await.unwrap(), Some(Some(organization)), "{name}");
        let remove = vec![Command::RemoveMember { member }];
        manage(store, &SystemClock, Some(organization), remove, None).await.unwrap();
        assert_eq!(whose(&test, &secret).await, None, "{name}: the token outlived its member");
        assert_eq!(store.members(organization).await.unwrap().len(), 1, "{name}");
    }
}
