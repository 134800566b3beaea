//! The bare statements of the SQL databases: prepared once for each connection, by sqlx, as ours are.

/// A table `Rows` of id, user, number and bytes on a pool. A macro, because bounds for every type that sqlx binds are longer than this.
macro_rules! bare_rows {
    ($pool:ty, $ddl:expr) => {
        struct Rows($pool);

        impl Rows {
            async fn filled(pool: $pool) -> $crate::measure::Outcome<Self> {
                sqlx::raw_sql($ddl).execute(&pool).await?;
                let rows = Self(pool);
                for number in 0..$crate::bare::ROWS as u64 {
                    $crate::bare::Bare::insert(&rows, number).await?;
                }
                Ok(rows)
            }
        }

        impl $crate::bare::Bare for Rows {
            const NAMES: $crate::bare::Names = $crate::bare::Names::SQL;

            async fn get(&self, row: usize) -> $crate::measure::Outcome {
                let query = sqlx::query("SELECT id, generation, body FROM bare WHERE id = $1");
                let row = &query.bind($crate::bare::id(row as u64)).fetch_one(&self.0).await?;
                $crate::stores::rows::taken!(row);
                Ok(())
            }

            async fn list(&self, user: usize) -> $crate::measure::Outcome {
                let query = sqlx::query(
                    "SELECT id, generation, body FROM bare WHERE user_id = $1 ORDER BY user_id, id DESC LIMIT 51",
                );
                let rows = query.bind(format!("user-{user}")).fetch_all(&self.0).await?;
                for row in &rows {
                    $crate::stores::rows::taken!(row);
                }
                let all = rows.len() == $crate::population::PER_USER;
                all.then_some(()).ok_or_else(|| "rows are missing".into())
            }

            async fn update(&self, row: usize) -> $crate::measure::Outcome {
                let query = sqlx::query("UPDATE bare SET generation = generation + 1 WHERE id = $1");
                query.bind($crate::bare::id(row as u64)).execute(&self.0).await?;
                Ok(())
            }

            async fn insert(&self, number: u64) -> $crate::measure::Outcome {
                let query = sqlx::query("INSERT INTO bare (id, user_id, generation, body) VALUES ($1, $2, 1, $3)");
                let user = format!("user-{}", number / $crate::population::PER_USER as u64);
                let query = query.bind($crate::bare::id(number)).bind(user).bind(&$crate::stores::BODY[..]);
                query.execute(&self.0).await?;
                Ok(())
            }
        }
    };
}

/// The values of a row, taken out as an application would.
macro_rules! taken {
    ($row:ident) => {
        std::hint::black_box((
            sqlx::Row::try_get::<uuid::Uuid, _>($row, 0)?,
            sqlx::Row::try_get::<i64, _>($row, 1)?,
            sqlx::Row::try_get::<Vec<u8>, _>($row, 2)?,
        ));
    };
}

pub(crate) use {bare_rows, taken};
