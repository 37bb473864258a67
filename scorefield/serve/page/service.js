// How the page asks the service: JSON, and streams of events.
const secret = () => sessionStorage.getItem('token');
const heads = () => ({'content-type': 'application/json',
  ...(secret() ? {authorization: `Bearer ${secret()}`} : {})});

const failed = async (answer) => {
  if (answer.status === 401) {
    const given = prompt('The service wants its token:');
    if (given) {
      sessionStorage.setItem('token', given); // links, to a report or a picture, carry it as a cookie
      document.cookie = `scorefield_token=${encodeURIComponent(given)}; SameSite=Strict; path=/`;
      location.reload();
    }
  }
  const told = await answer.json().catch(() => null);
  throw new Error(told?.error?.message ?? `the service answered ${answer.status}`);
};

export const get = async (path) => {
  const answer = await fetch(path, {headers: heads()});
  return answer.ok ? answer.json() : failed(answer);
};
export const stop = (id) => fetch(`/v1/requests/${id}`, {method: 'DELETE', headers: heads()});

// Each event of a request as it comes, then its answer. Leaving the loop ends the request.
export async function* events(verb, body, signal) {
  const answer = await fetch(`/v1/${verb}/events`,
    {method: 'POST', headers: heads(), body: JSON.stringify(body), signal});
  if (!answer.ok) await failed(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n\n');
    rest = parts.pop();
    for (const part of parts) {
      const kind = part.match(/^event: (.*)$/m)?.[1];
      const data = part.match(/^data: (.*)$/m)?.[1];
      if (kind) yield {kind, data: JSON.parse(data)};
    }
  }
}

// What a picture says of how it was made: the text chunk `scorefield` of a PNG.
export const settingsOf = async (file) => {
  const bytes = new DataView(await file.arrayBuffer());
  for (let at = 8; at + 8 < bytes.byteLength;) {
    const size = bytes.getUint32(at);
    const name = String.fromCharCode(...new Uint8Array(bytes.buffer, at + 4, 4));
    if (name === 'tEXt') {
      const text = new TextDecoder('latin1').decode(new Uint8Array(bytes.buffer, at + 8, size));
      const [key, told] = text.split('\0');
      if (key === 'scorefield') return JSON.parse(told);
    }
    at += 12 + size;
  }
  throw new Error('the picture does not say how it was made.');
};
export const base64 = (file) => new Promise((done, bad) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => bad(new Error('the file cannot be read.'));
  reader.readAsDataURL(file);
});
