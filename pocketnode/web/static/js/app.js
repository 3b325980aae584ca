// The frame: who is asked, which page is shown, whether the daemon is heard.

import { get, send, whenLocked } from "./api.js";
import { brief } from "./format.js";
import { html, render, useEffect, useErrorBoundary, useRef, useState } from "./html.js";
import { Icon } from "./icons.js";
import { live, useLive } from "./live.js";
import { Banner } from "./parts.js";
import { Explorer } from "./pages/explorer.js";
import { Keys } from "./pages/keys.js";
import { Money } from "./pages/money.js";
import { Operator } from "./pages/operator.js";
import { Overview } from "./pages/overview.js";
import { Suppliers } from "./pages/suppliers.js";

const PAGES = {
  overview: { name: "Overview", view: Overview },
  operator: { name: "Operator", view: Operator },
  suppliers: { name: "Suppliers", view: Suppliers },
  money: { name: "Sessions", title: "Sessions and money", view: Money },
  keys: { name: "Keys", title: "Keys and usage", view: Keys },
  explorer: { name: "Explorer", view: Explorer },
};

function useRoute() {
  const read = () => location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const [route, go] = useState(read);
  useEffect(() => {
    const follow = () => go(read());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return route;
}

function App() {
  const [about, setAbout] = useState(null);
  const [locked, lock] = useState(false);
  const [problem, setProblem] = useState(null);
  const begin = async () => {
    try {
      const found = await get("/api/about");
      if (found.locked) {
        lock(true);
        return;
      }
      setAbout(found);
      lock(false);
      setProblem(null);
      live.start();
    } catch (error) {
      setProblem(error.message);
      setTimeout(begin, 2000);
    }
  };
  useEffect(() => {
    whenLocked(() => {
      live.stop();
      lock(true);
    });
    begin();
  }, []);
  if (locked) return html`<${Login} onOpen=${begin} />`;
  if (problem && !about) return html`<main class="login"><${Banner} tone="bad" title="Not connected">${problem}<//></main>`;
  return about ? html`<${Shell} about=${about} />` : html`<main class="login" aria-busy="true"></main>`;
}

function Login({ onOpen }) {
  const [problem, tell] = useState("");
  const enter = async (event) => {
    event.preventDefault();
    try {
      await send("POST", "/api/login", { token: new FormData(event.target).get("token").trim() });
      onOpen();
    } catch (error) {
      tell(error.message);
    }
  };
  return html`<main class="login">
    <section class="card">
      <img src="/static/icon.svg" alt="" width="36" height="36" />
      <h1>pocketnode</h1>
      <p class="muted">This listener is the operator's own. Its token is in the file that the configuration names as <code>admin.token_file</code>.</p>
      <form onSubmit=${enter}>
        <label>Admin token<input name="token" type="password" autocomplete="current-password" autofocus required aria-describedby="problem" /></label>
        <p id="problem" class="bad small" role="alert">${problem}</p>
        <button class="button is-first">Open the dashboard</button>
      </form>
    </section>
  </main>`;
}

function Shell({ about }) {
  const route = useRoute();
  const names = about.pages.filter((name) => PAGES[name]);
  const moved = useRef(false);
  const page = names.includes(route[0]) ? route[0] : names[0];
  useEffect(() => {
    document.title = `${PAGES[page].title ?? PAGES[page].name} · pocketnode ${about.role}`;
    if (moved.current) document.querySelector("h1")?.focus({ preventScroll: true });
    moved.current = true;
    document.querySelector('.nav [aria-current="page"]')?.scrollIntoView({ block: "nearest", inline: "center" });
    scrollTo(0, 0);
  }, [route.join("/")]);
  return html`<div class="shell">
    <a class="skip" href="#main" onClick=${(event) => (event.preventDefault(), document.getElementById("main").focus())}>Skip to the page</a>
    <header class="side">
      <div class="brand"><img src="/static/icon.svg" alt="" /><span>pocketnode</span></div>
      <nav aria-label="Pages">
        <ul class="nav">
          ${names.map(
            (name) => html`<li key=${name}>
              <a href=${`#/${name}`} aria-current=${name === page ? "page" : undefined}><${Icon} name=${name} />${PAGES[name].name}</a>
            </li>`,
          )}
        </ul>
      </nav>
      <${Foot} about=${about} />
    </header>
    <main class="main" id="main" tabindex="-1">
      <${Guarded} key=${route.join("/")} page=${page} about=${about} route=${route} />
    </main>
  </div>`;
}

/** A page that fails tells so, and the others still open. */
function Guarded({ page, about, route }) {
  const [error] = useErrorBoundary((problem) => console.error(problem));
  if (error) return html`<${Banner} tone="bad" title="This page failed">${String(error.message ?? error)}<//>`;
  const View = PAGES[page].view;
  return html`<${Connection} /><${View} about=${about} path=${route.slice(1)} />`;
}

function Connection() {
  const { status, state } = useLive();
  if (status === "lost") return html`<${Banner} tone="bad" title="Not connected"> The daemon does not answer; what you see is from before. Trying again.<//>`;
  const problem = state?.now.problem;
  if (problem) return html`<${Banner} title="Not everything can be read">${problem}<//>`;
  return null;
}

function Foot({ about }) {
  const { status, state } = useLive();
  const words = { live: "Live", lost: "Not connected", connecting: "Connecting" }[status];
  const tone = { live: "is-good", lost: "is-bad", connecting: "is-warn" }[status];
  return html`<div class="side-foot">
    <div class="wide">
      <div class="faint">${about.role}${about.address ? html` <span class="mono">${brief(about.address)}</span>` : ""}</div>
      <div class="faint">chain ${about.chain_id}${state?.now.block ? ` · block ${state.now.block.toLocaleString("en-US")}` : ""}</div>
    </div>
    <div class="live" role="status"><span class=${`dot ${tone}`}></span><span>${words}</span></div>
    <button class="button is-small is-quiet" onClick=${() => window.toggleTheme()} aria-label="Theme: change between light and dark"><${Icon} name="theme" size=${15} /><span class="wide">Theme</span></button>
  </div>`;
}

render(html`<${App} />`, document.getElementById("app"));
