import { html, nothing, render, type TemplateResult } from 'lit-html';
import type { JobDetails } from '../../jobs/job-view.ts';
import type { DashboardState, RunningUpload } from '../dashboard-state.ts';
import { type Act, batchesTable, runningTable, targetsTable, troubleTable } from './tables.ts';
import { moment, rate } from './words.ts';

const LOOK_MS = 1_000;
/** Nobody looks at a page in the background. */
const HIDDEN_MS = 15_000;

/** What the page holds besides what the server says. */
interface Page {
  state: DashboardState | undefined;
  /** Why the state is not what it is now. */
  trouble: string | undefined;
  /** What the last button did. */
  news: { readonly text: string; readonly isBad: boolean } | undefined;
  filter: string;
}

const page: Page = { state: undefined, trouble: undefined, news: undefined, filter: '' };
const root = document.getElementById('page') as HTMLElement;

function draw(): void {
  const { state } = page;
  const failed = state ? countIn(state, 'failed') : 0;
  document.title = failed > 0 ? `(${failed}) ovaferry` : 'ovaferry';
  render(
    html`${headOf(page)}
      <main class="container-fluid">${state ? sectionsOf(state) : nothing}</main>`,
    root,
  );
}

function headOf({ state, trouble, news }: Page): TemplateResult {
  const total = state?.running.reduce((sum, job) => sum + (job.rate ?? 0), 0) ?? 0;
  const running = state?.running.length ?? 0;
  return html`<header class="container-fluid">
      <h1>ovaferry</h1>
      <span class="grow">${running > 0 ? `${running} running, ${rate(total)}` : 'nothing runs'}</span>
      <label>
        <input
          type="search"
          placeholder="only what has this in its name"
          aria-label="Filter"
          .value=${page.filter}
          @input=${(event: InputEvent) => {
            page.filter = (event.target as HTMLInputElement).value.toLowerCase();
            draw();
          }}
        />
      </label>
      <a href="/queues">queues</a>
      <small>${state ? moment(state.at) : 'not seen yet'}</small>
    </header>
    <div class="container-fluid">
      ${trouble === undefined ? nothing : html`<p class="notice bad" role="alert">${trouble}</p>`}
      <p role="status" class=${news ? `notice ${news.isBad ? 'bad' : ''}` : ''}>${news?.text}</p>
    </div>`;
}

function sectionsOf(state: DashboardState): TemplateResult {
  const isWanted = ({ name, target, catalog, batch, id }: JobDetails): boolean =>
    `${id} ${name} ${target}/${catalog} ${batch ?? ''}`.toLowerCase().includes(page.filter);
  const [running, retrying, failed] = [state.running, state.retrying, state.failed].map((jobs) =>
    jobs.filter(isWanted),
  ) as [RunningUpload[], JobDetails[], JobDetails[]];
  const of = (name: 'active' | 'failed'): number => (page.filter === '' ? countIn(state, name) : 0);
  return html`
    ${section('Targets', state.targets.length, targetsTable(state.targets, act))}
    ${state.batches.length > 0 ? section('Batches', state.batches.length, batchesTable(state.batches, act)) : nothing}
    ${section('Running', running.length, runningTable(running, act), of('active'))}
    ${retrying.length > 0 ? section('Waiting to be tried again', retrying.length, troubleTable(retrying, act)) : nothing}
    ${section('Failed', failed.length, troubleTable(failed, act), of('failed'))}
  `;
}

function countIn({ targets }: DashboardState, name: 'active' | 'failed'): number {
  return targets.reduce((sum, { counts }) => sum + counts[name], 0);
}

/** @param total how many there are, where that may be more than are shown */
function section(
  title: string,
  count: number,
  content: TemplateResult,
  total = count,
): TemplateResult {
  const shown = total > count ? `${count} of ${total}, newest first` : count;
  return html`<section aria-label=${title}>
    <h2>${title} <small>${shown}</small></h2>
    ${count > 0 ? html`<div class="overflow-auto">${content}</div>` : html`<p><small>none</small></p>`}
  </section>`;
}

/** What an answer says was done. */
interface Done {
  readonly error?: string;
  readonly done?: number;
  readonly replaced?: number;
  readonly resumed?: boolean;
}

async function act(...[command, wanted]: Parameters<Act>): Promise<void> {
  page.news = { text: `${command} …`, isBad: false };
  draw();
  try {
    const answer = await fetch(`/api/${command}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(wanted),
    });
    const said = (await answer.json()) as Done;
    page.news = { text: said.error ?? doneWords(command, said), isBad: !answer.ok };
  } catch {
    page.news = { text: 'the dashboard does not answer: nothing is known of it', isBad: true };
  }
  await look();
}

function doneWords(command: string, { done = 0, replaced = 0, resumed }: Done): string {
  if (command === 'resume') return resumed ? 'it goes on' : 'nothing held it';
  if (command === 'cancel') return `${many(done)} will be cancelled, and cleaned up on the server`;
  const others = replaced > 0 ? `; ${many(replaced)} had been enqueued again since` : '';
  return `${many(done)} put back${others}`;
}

function many(count: number): string {
  return count === 1 ? '1 upload' : `${count} uploads`;
}

async function look(): Promise<void> {
  try {
    const answer = await fetch('/api/state');
    const said = (await answer.json()) as DashboardState & { error?: string };
    if (answer.ok) page.state = said;
    page.trouble = answer.ok ? undefined : said.error;
  } catch {
    page.trouble = 'The dashboard does not answer; what is below is not what is.';
  }
  draw();
}

async function lookOn(): Promise<never> {
  for (;;) {
    await look();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, document.hidden ? HIDDEN_MS : LOOK_MS);
      document.addEventListener(
        'visibilitychange',
        () => {
          clearTimeout(timer);
          resolve();
        },
        { once: true },
      );
    });
  }
}

void lookOn();
