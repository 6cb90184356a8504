"""A Streamlit front end of a ddb cluster, over the HTTP API of its master."""

import altair as alt
import pandas as pd
import streamlit as st

from ddb_api import ApiError, Client, to_frame

REFRESH = "2s"  # of the cluster's state
PAGE = 100  # rows of the table browser
MAX_ROWS = 10_000  # of a statement's result
CONSISTENCY = {
    "session: sees this program's own writes": "session",
    "strong: the master answers": "strong",
    "eventual: any node answers": "eventual",
}


def show_error(error):
    """The node's words stand as plain text: they may hold what looks like Markdown."""
    st.error(error.headline, icon=":material/error:")
    if error.detail:
        st.code(error.detail, language=None, wrap_lines=True)


def show_result(result):
    """Shows what one statement gave."""
    took = f"{result['node']} · entry {result['lsn']} · {result['elapsedMs']:.1f} ms"
    if not result["columns"]:
        text = f"{result['rowsAffected']:,} rows changed"
        if result["lastInsertId"]:
            text += f", last id {result['lastInsertId']}"
        st.success(text, icon=":material/check:")
    else:
        st.dataframe(to_frame(result), hide_index=True, placeholder="NULL")
        took = f"{len(result['rows']):,} rows · {took}"
        if result.get("truncated"):
            st.info(f"Only the first {len(result['rows']):,} rows are shown.")
    st.caption(took)


def sql_screen(client):
    """Runs statements. The answer stays until the next one, whatever else is clicked."""
    with st.form("statement", border=False):
        text = st.text_area("SQL", height=140, placeholder="SELECT ... (Ctrl-Enter runs it)")
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        consistency = left.selectbox("Reads", list(CONSISTENCY))
        run = right.form_submit_button("Run", type="primary", width="stretch")
    if run and text.strip():
        with st.spinner("Running"):
            st.session_state.answer = run_sql(client, text, CONSISTENCY[consistency])
    results, error = st.session_state.get("answer", ([], None))
    for result in results:
        show_result(result)
    if error:
        show_error(error)


def run_sql(client, text, consistency):
    try:
        return client.sql(text, consistency, MAX_ROWS), None
    except ApiError as error:
        return error.results, error


def tables_screen(client):
    """Browses a table page by page."""
    try:
        tables = client.tables()
    except ApiError as error:
        show_error(error)
        return
    if not tables:
        st.info("There is no table yet. CREATE TABLE makes one.")
        return
    left, right = st.columns([3, 1])
    by_name = {table_name(table): table for table in tables}
    name = left.selectbox("Table", list(by_name))
    table = by_name[name]
    rows = table["rows"]
    pages = None if rows is None else max(1, -(-rows // PAGE))
    key = f"page of {name}"
    if pages is not None and st.session_state.get(key, 1) > pages:
        st.session_state[key] = pages  # the table has shrunk
    page = right.number_input("Page", 1, pages, key=key)
    try:
        result = client.rows(table, PAGE, (page - 1) * PAGE)
    except ApiError as error:
        show_error(error)
        return
    st.dataframe(to_frame(result), hide_index=True, placeholder="NULL")
    st.caption("many rows" if rows is None else f"{rows:,} rows · page {page} of {pages}")
    with st.expander("Columns"):
        columns = pd.DataFrame(table["columns"])[["name", "type", "nullable", "key"]]
        st.dataframe(columns, hide_index=True)


def table_name(table):
    return f"{table['database']}.{table['name']}" if table["database"] else table["name"]


@st.fragment(run_every=REFRESH)
def cluster_screen(client):
    """Shows the nodes, and refreshes itself without the rest of the page."""
    try:
        status, history = client.status(), client.history()
    except ApiError as error:
        show_error(error)
        return
    nodes = status["nodes"]
    fit = sum(node["state"] == "active" for node in nodes)
    for place, label, value in zip(
        st.columns(3), ["Active nodes", "Last entry", "Epoch"], [f"{fit} of {len(nodes)}", status["lsn"], status["epoch"]]
    ):
        place.metric(label, value)
    frame = pd.DataFrame(nodes)
    names = {
        "id": "node", "role": "role", "state": "state", "reason": "reason", "lsn": "entry", "lagMs": "lag, ms",
        "pending": "pending", "reads": "reads", "address": "address",
    }  # fmt: skip
    st.dataframe(frame[list(names)].rename(columns=names), hide_index=True, placeholder="unknown")
    st.markdown("**Lag of the replicas, ms**")
    lag = lag_frame(history["points"], [node["id"] for node in nodes if node["role"] != "master"])
    if lag["lag"].isna().all():
        st.info("No replica has reported a lag yet.")
        return
    top = max(10.0, lag["lag"].max())  # a level replica is a line at the bottom
    chart = alt.Chart(lag, height=260).mark_line(interpolate="step-after").encode(
        x=alt.X("time:T", title=None, axis=alt.Axis(format="%H:%M:%S", labelOverlap=True)),
        y=alt.Y("lag:Q", title="ms", scale=alt.Scale(domain=[0, top], nice=True)),
        color=alt.Color("node:N", legend=alt.Legend(title=None, orient="top")),
    )  # fmt: skip
    st.altair_chart(chart)


def lag_frame(points, ids):
    """Makes a row per moment and node; an unknown lag is a gap."""
    rows = [(point["at"], id, point["nodes"].get(id, {}).get("lagMs")) for point in points for id in ids]
    lag = pd.DataFrame(rows, columns=["time", "node", "lag"]).astype({"lag": "float64"})
    lag["time"] = pd.to_datetime(lag["time"], unit="ms", utc=True)  # the browser shows its own zone
    return lag


def download(client):
    """Fetches the export first, so that an error can be shown; then the browser can have it."""
    st.subheader("Take it home")
    if st.button("Make a .sql file", width="stretch"):
        st.session_state.pop("export", None)
        with st.spinner("Exporting"):
            try:
                st.session_state.export = client.export()
            except ApiError as error:
                show_error(error)
    if "export" in st.session_state:
        data = st.session_state.export
        st.download_button(
            f"Download, {len(data):,} bytes", data, "database.sql", "application/sql", on_click="ignore", width="stretch"
        )


def main():
    st.set_page_config("ddb", page_icon=":material/database:", layout="wide")
    client = Client()
    with st.sidebar:
        st.title("ddb")
        st.text(client.url)
        download(client)
    # Hidden screens ask the node for nothing; SQL is always there, so that what was typed stays.
    sql, tables, cluster = st.tabs(["SQL", "Tables", "Cluster"], key="screen", on_change="rerun")
    with sql:
        sql_screen(client)
    if tables.open:
        with tables:
            tables_screen(client)
    if cluster.open:
        with cluster:
            cluster_screen(client)


main()
