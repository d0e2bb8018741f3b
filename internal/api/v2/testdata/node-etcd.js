const Etcd = require('node-etcd');
const assert = require('assert');
const c = new Etcd(process.argv[2]);
const p = (f, ...a) => new Promise((res, rej) => c[f](...a, (err, body, head) => err ? rej(Object.assign(err, {head})) : res(body)));
const fails = async (code, f, ...a) => { try { await p(f, ...a) } catch (e) { assert.equal(e.errorCode ?? e.error?.errorCode, code, JSON.stringify(e)); return } assert.fail('no error ' + code) };
(async () => {
  await p('rmdir', 'n', {recursive: true}).catch(() => {});
  let r = await p('set', 'n/key', 'value'); assert.equal(r.action, 'set');
  assert.equal((await p('get', 'n/key')).node.value, 'value');
  await p('set', 'n/ttl', 'x', {ttl: 30}); assert.equal((await p('get', 'n/ttl')).node.ttl, 30);
  await p('create', 'n/queue', 'first'); r = await p('create', 'n/queue', 'second'); assert.equal(r.action, 'create');
  r = await p('get', 'n/queue', {recursive: true, sorted: true}); assert.deepEqual(r.node.nodes.map(n => n.value), ['first', 'second']);
  r = await p('compareAndSwap', 'n/key', 'next', 'value'); assert.equal(r.action, 'compareAndSwap');
  await fails(101, 'testAndSet', 'n/key', 'x', 'wrong');
  await p('mkdir', 'n/dir'); await fails(102, 'mkdir', 'n/dir');
  await p('set', 'n/dir/x', '1'); await fails(108, 'rmdir', 'n/dir'); await p('rmdir', 'n/dir', {recursive: true});
  await fails(100, 'get', 'n/missing');
  await p('compareAndDelete', 'n/key', 'next'); await fails(100, 'get', 'n/key');
  // a watch on what comes, and one on the past
  const w = p('watch', 'n/w'); setTimeout(() => c.set('n/w', 'seen', () => {}), 200);
  r = await w; assert.equal(r.node.value, 'seen');
  r = await p('watchIndex', 'n/w', r.node.modifiedIndex); assert.equal(r.node.value, 'seen');
  // the long-lived watcher of the library
  const seen = [];
  const watcher = c.watcher('n/live', null, {recursive: true});
  const done = new Promise((res, rej) => { watcher.on('change', e => { seen.push(e.action + ' ' + e.node.key); if (seen.length == 3) res() }); watcher.on('error', rej) });
  await new Promise(res => setTimeout(res, 300));
  await p('set', 'n/live/a', '1'); await p('set', 'n/live/b', '2'); await p('del', 'n/live/a'); await done; watcher.stop();
  assert.deepEqual(seen, ['set /n/live/a', 'set /n/live/b', 'delete /n/live/a']);
  await fails(100, 'machines'); // a key of the first versions, which later ones do not have
  assert.equal((await p('selfStats')).state, 'StateLeader'); assert((await p('leaderStats')).leader);
  console.log('node-etcd ' + require('node-etcd/package.json').version + ': all as expected');
  process.exit(0);
})().catch(e => { console.error(e); process.exit(1) });
