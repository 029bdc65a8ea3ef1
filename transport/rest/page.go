package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
)

// The page for people who open the node's address in a browser. It loads
// nothing from anywhere but /status.json.
const (
	pageStyle = `
:root { color-scheme: light dark; --line: #8886; --dim: #888; --good: #2a8a4a; --bad: #c0392b; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; }
p.lead { color: var(--dim); margin-top: .2rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--dim); }
.leader { color: var(--good); font-weight: 600; }
.unreachable, .trouble { color: var(--bad); }
code { font-size: .95em; }
`
	pageScript = `
"use strict";
const $ = (id) => document.getElementById(id);
function row(node, self) {
  const tr = document.createElement("tr");
  const name = tr.insertCell(), state = tr.insertCell();
  name.textContent = node.name + (node.name === self ? " (this node)" : "");
  state.textContent = node.state;
  state.className = node.state === "leader" || node.state === "unreachable" ? node.state : "";
  return tr;
}
async function refresh() {
  try {
    const answer = await fetch("/status.json");
    if (!answer.ok) throw new Error("HTTP " + answer.status);
    const status = await answer.json();
    $("leader").textContent = status.leader || "none: writes wait until one is elected";
    $("leader").className = status.leader ? "leader" : "trouble";
    $("nodes").replaceChildren(...status.nodes.map((n) => row(n, status.node)));
    $("note").textContent = "Updated " + new Date().toLocaleTimeString() + ".";
    $("note").className = "";
  } catch (e) {
    $("note").textContent = "This node does not answer: " + e.message;
    $("note").className = "trouble";
  }
  setTimeout(refresh, 2000);
}
refresh();
`
	pageHead = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Limpet</title>
<link rel="icon" href="data:,">
<style>`
	pageBody = `</style>
</head>
<body>
<h1>Limpet</h1>
<p class="lead">A coordinator for sticky worker assignment: every task of a sticky run goes to the worker that holds its state.</p>
<p>Leader: <span id="leader">…</span></p>
<table>
<thead><tr><th>Node</th><th>State</th></tr></thead>
<tbody id="nodes"></tbody>
</table>
<p id="note">Loading…</p>
<noscript><p>Without scripts, see <a href="/status.json">/status.json</a>.</p></noscript>
<p>Health: <a href="/readyz?verbose">/readyz</a>. Metrics: <a href="/metrics">/metrics</a>. More with a token: <code>GET /api/v1/cluster</code>.</p>
<script>`
	pageEnd = `</script>
</body>
</html>
`
)

// page is the page with the policy that lets only its own parts run.
type page struct{ html, policy string }

func newPage() *page {
	return &page{
		html: pageHead + pageStyle + pageBody + pageScript + pageEnd,
		policy: "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
			"; style-src " + source(pageStyle) + "; script-src " + source(pageScript),
	}
}

// source names an inline part by its hash.
func source(part string) string {
	sum := sha256.Sum256([]byte(part))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func (p *page) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", p.policy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	_, _ = io.WriteString(w, p.html)
}
