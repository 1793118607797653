import { html, nothing, type TemplateResult } from 'lit-html';
import { repeat } from 'lit-html/directives/repeat.js';
import type { BatchState } from '../../jobs/batch/overview.ts';
import type { JobDetails } from '../../jobs/job-view.ts';
import type { TargetState } from '../../jobs/target-states.ts';
import type { RunningUpload } from '../dashboard-state.ts';
import { bytes, duration, moment, percent, rate } from './words.ts';

/** Does what the command of this name does. */
export type Act = (command: 'retry' | 'cancel' | 'resume', wanted: object) => Promise<void>;

export function targetsTable(targets: readonly TargetState[], act: Act): TemplateResult {
  return html`<table>
    <thead>
      <tr>
        <th>Target</th>
        ${['running', 'waiting', 'again', 'failed', 'done', 'rate', 'workers'].map(
          (word) => html`<th class="number">${word}</th>`,
        )}
        <th>State</th>
      </tr>
    </thead>
    <tbody>
      ${repeat(
        targets,
        ({ name }) => name,
        ({ name, counts, rate: perSecond, workers, ...rest }) => html`<tr>
          <td>${name}</td>
          <td class="number">${counts.active}</td>
          <td class="number">${counts.waiting}</td>
          <td class="number">${counts.delayed}</td>
          <td class="number ${counts.failed > 0 ? 'bad' : ''}">${counts.failed}</td>
          <td class="number">${counts.completed}</td>
          <td class="number">${perSecond === null || counts.active === 0 ? '' : rate(perSecond)}</td>
          <td class="number">${workers}</td>
          <td class="wrap">${targetWords({ name, counts, rate: perSecond, workers, ...rest }, act)}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}

function targetWords(
  { name, brake, window, inFlight, waits, isConfigured }: TargetState,
  act: Act,
): TemplateResult {
  const unserved = waits.filter(({ reason }) => reason === 'no-worker');
  return html`
    ${
      brake
        ? html`<p class="bad">held: ${brake.code}: ${brake.message} <span class="hint">${brake.hint}</span>
            ${brake.trialAt === null ? nothing : `Tried again ${moment(brake.trialAt)}.`}
            ${isConfigured ? button('Resume', `Resume ${name}`, () => act('resume', { target: name })) : nothing}</p>`
        : nothing
    }
    ${isConfigured ? nothing : html`<p class="warn">it is not in the configuration any more</p>`}
    ${unserved.map(
      ({ pool }) =>
        html`<p class="warn">no worker takes its jobs${pool === null ? '' : ` of the pool ${pool}`}</p>`,
    )}
    ${
      window && !window.isOpen
        ? html`<p class="warn">outside its window${window.changesAt ? `, which opens ${moment(window.changesAt)}` : ''}</p>`
        : nothing
    }
    ${window?.isOpen && window.changesAt ? html`<p><small>window until ${moment(window.changesAt)}</small></p>` : nothing}
    ${inFlight.map(
      ({ of, bytes: taken, limit }) =>
        html`<p><small>in flight, ${of}: ${bytes(taken)} of ${bytes(limit)}</small></p>`,
    )}
  `;
}

export function batchesTable(batches: readonly BatchState[], act: Act): TemplateResult {
  return html`<table>
    <thead>
      <tr>
        <th>Batch</th>
        <th class="number">arrived</th>
        <th></th>
        <th class="number">bytes</th>
        <th class="number">rate</th>
        <th>expected</th>
        <th>deadline</th>
        <th>failed</th>
        <th></th>
      </tr>
    </thead>
    <tbody>
      ${repeat(
        batches,
        ({ name }) => name,
        (batch) => html`<tr>
          <td class="wrap">${batch.name}</td>
          <td class="number">${batch.counts.completed} of ${countOf(batch)}</td>
          <td>${bar(batch.bytesArrived, batch.bytesTotal, batch.name)}</td>
          <td class="number">${bytes(batch.bytesArrived)} of ${bytes(batch.bytesTotal)}</td>
          <td class="number">${batch.rate === null ? '' : rate(batch.rate)}</td>
          <td>${expectedWords(batch)}</td>
          <td>${deadlineWords(batch)}</td>
          <td class="wrap">${failureWords(batch, act)}</td>
          <td>${openOf(batch) > 0 ? cancelBatchButton(batch, act) : nothing}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}

function countOf({ counts }: BatchState): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** Those that have not ended. */
function openOf({ counts }: BatchState): number {
  return counts.waiting + counts.active + counts.delayed;
}

function cancelBatchButton(batch: BatchState, act: Act): TemplateResult {
  const { name } = batch;
  return button('Cancel', `Cancel ${name}`, async () => {
    const question = `Cancel the ${openOf(batch)} uploads of ${name} that have not ended?`;
    if (window.confirm(question)) await act('cancel', { batch: name });
  });
}

function expectedWords({ endedAt, expectedAt }: BatchState): string {
  if (endedAt !== null) return `ended ${moment(endedAt)}`;
  if (expectedAt === null) return 'not known yet';
  return `${moment(expectedAt)}, in ${duration(Math.max(0, Date.parse(expectedAt) - Date.now()))}`;
}

function deadlineWords({ deadline, lateCount, endedAt }: BatchState): TemplateResult {
  if (deadline === null) return html``;
  const isLate = lateCount > 0 && endedAt === null;
  return html`${moment(deadline)}
  ${isLate ? html`<p class="bad">${lateCount} will miss it</p>` : nothing}`;
}

function failureWords({ name, failures }: BatchState, act: Act): TemplateResult {
  if (failures.length === 0) return html``;
  return html`${failures.map(
    ({ code, count, message, hint }) =>
      html`<p title=${message}><span class="bad">${count} × ${code}</span> <span class="hint">${hint}</span></p>`,
  )}
  ${button('Retry', `Retry what failed of ${name}`, () => act('retry', { batch: name }))}`;
}

export function runningTable(jobs: readonly RunningUpload[], act: Act): TemplateResult {
  return html`<table class="fixed">
    <thead>
      <tr>
        <th>Upload</th>
        <th>Stage</th>
        <th></th>
        <th class="number">bytes</th>
        <th class="number">rate</th>
        <th class="number">left</th>
        <th></th>
      </tr>
    </thead>
    <tbody>
      ${repeat(
        jobs,
        ({ id }) => id,
        (job) => runningRows(job, act),
      )}
    </tbody>
  </table>`;
}

function runningRows(job: RunningUpload, act: Act): TemplateResult {
  const kept = job.bytesSent - job.bytesResent;
  return html`<tr>
      <td class="wrap" title=${job.id}>${placeOf(job)}${warningsOf(job)}</td>
      <td>${job.stage}</td>
      <td>${bar(kept, job.bytesTotal, job.name)}</td>
      <td class="number">${percent(kept, job.bytesTotal)} of ${bytes(job.bytesTotal)}</td>
      <td class="number">${job.rate === null ? '' : rate(job.rate)}</td>
      <td class="number">${job.leftMs === null ? '' : duration(job.leftMs)}</td>
      <td>${cancelButton(job, act)}</td>
    </tr>
    ${
      job.files.length > 1
        ? job.files.map(
            ({ name, size, sent }) => html`<tr class="file">
              <td class="wrap" colspan="2">${name}</td>
              <td>${bar(sent, size, name)}</td>
              <td class="number">${percent(sent, size)} of ${bytes(size)}</td>
              <td colspan="3"></td>
            </tr>`,
          )
        : nothing
    }`;
}

export function troubleTable(jobs: readonly JobDetails[], act: Act): TemplateResult {
  return html`<table>
    <thead>
      <tr>
        <th>Upload</th>
        <th>Why</th>
        <th class="number">runs</th>
        <th></th>
        <th></th>
      </tr>
    </thead>
    <tbody>
      ${repeat(
        jobs,
        ({ id }) => id,
        (job) => html`<tr>
          <td class="wrap" title=${job.id}>${placeOf(job)}</td>
          <td class="wrap">
            ${job.error?.code}: ${job.error?.message}
            <p class="hint">${job.error?.hint}</p>
            ${warningsOf(job)}
          </td>
          <td class="number">${job.attempts}</td>
          <td>${button('Retry', `Retry ${job.name}`, () => act('retry', { ids: [job.id] }))}</td>
          <td>${job.state === 'failed' && job.bytesOnServer === 0 ? nothing : cancelButton(job, act)}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}

function warningsOf({ warnings }: JobDetails): TemplateResult {
  return html`${warnings.map((warning) => html`<p class="warn">${warning}</p>`)}`;
}

function placeOf({ name, operation, target, catalog, destination, batch }: JobDetails): string {
  const place = `${target}/${catalog}`;
  const way = operation === 'download' ? `${place}/${name} → ${destination}` : `${name} → ${place}`;
  return `${way}${batch === null ? '' : ` (${batch})`}`;
}

function bar(part: number, whole: number, label: string): TemplateResult {
  return html`<progress aria-label=${label} .value=${whole > 0 ? part / whole : 1} max="1"></progress>`;
}

/** Not to be pressed again before it has done what it does. */
function button(text: string, label: string, onClick: () => Promise<void>): TemplateResult {
  const press = async ({ currentTarget }: MouseEvent): Promise<void> => {
    const pressed = currentTarget as HTMLButtonElement;
    pressed.disabled = true;
    await onClick().finally(() => {
      pressed.disabled = false;
    });
  };
  return html`<button class="outline" aria-label=${label} @click=${press}>${text}</button>`;
}

function cancelButton({ id, name }: JobDetails, act: Act): TemplateResult {
  return button('Cancel', `Cancel ${name}`, async () => {
    const question = `Cancel ${name}? What is on the server of it is removed.`;
    if (window.confirm(question)) await act('cancel', { ids: [id] });
  });
}
