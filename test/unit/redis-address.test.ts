import { describe, expect, test } from '@jest/globals';
import { describeAddress, isRedisAddress } from '../../src/redis/connect.ts';

describe('an address of Redis', () => {
  test.each([
    'redis://127.0.0.1',
    'redis://127.0.0.1:6379',
    'redis://127.0.0.1:6379/',
    'redis://[::1]:6379/2',
    'rediss://user:p%40ss@redis.example.com/0',
    'redis://:secret@host',
    'redis-sentinel://s1,s2:26380/mymaster',
    'rediss-sentinel://user:pass@s1,s2,s3/mymaster/3',
    'redis-cluster://r1:7000,r2',
    'unix:///run/redis/redis.sock',
    'unix://user:p%40ss@/run/redis/redis.sock',
  ])('%s', (url) => expect(isRedisAddress(url)).toBe(true));

  test.each([
    'http://host',
    'redis://',
    'redis://a,b',
    'redis://host/nope',
    'redis-sentinel://s1',
    'redis-cluster://r1/2',
    'unix:/tmp/x',
    'unix://tmp/x',
    'unix://',
    'unix://:SECRET%zz@/x',
    'redis://:SECRET%zz@h',
    'redis://h:abc',
    'redis://h/0/3',
    'redis://::1',
    'redis://h:99999',
    'redis://h/0?family=6',
    'redis-cluster://a,,b',
    '',
  ])('%s is none', (url) => expect(isRedisAddress(url)).toBe(false));

  test('is shown without user and password', () => {
    expect(describeAddress({ url: 'rediss://user:p%40ss@r.example.com:1/2' })).toBe(
      'rediss://r.example.com:1/2',
    );
    expect(describeAddress({ url: 'redis-sentinel://u:p@a,b/m' })).toBe('redis-sentinel://a,b/m');
    expect(describeAddress({ url: 'unix://:p@/run/r.sock' })).toBe('unix:///run/r.sock');
    expect(describeAddress({ url: 'not : an address with secret' })).toBe('the configured address');
  });
});
