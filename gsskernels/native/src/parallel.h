// Parallel loops and scratch memory. Everything here has internal linkage: of a function that several instruction sets
// share, the linker could keep a version that this processor cannot run.
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(GSS_STD_THREADS)  // for ThreadSanitizer, which does not understand OpenMP's barriers
#include <atomic>
#include <thread>
#elif defined(_OPENMP)
#include <omp.h>
#endif

extern "C" int gss_forked;  // dispatch.cpp: 1 in a process forked from one that had loaded the library

namespace {

// Runs task(i, thread) for every i in 0..tasks-1; thread < threads numbers the worker, for per-thread scratch.
// A forked child stays on one thread: OpenMP's pool does not survive fork, and waiting for it would hang.
template <class Task>
void parallel_for(int threads, int64_t tasks, Task task) {
  if (tasks < threads) threads = static_cast<int>(tasks);
  if (threads <= 1 || gss_forked) {
    for (int64_t i = 0; i < tasks; ++i) task(i, 0);
    return;
  }
#if defined(GSS_STD_THREADS)
  std::atomic<int64_t> next{0};
  auto work = [&](int thread) {
    for (int64_t i = next++; i < tasks; i = next++) task(i, thread);
  };
  std::thread workers[256];
  if (threads > 256) threads = 256;
  for (int t = 1; t < threads; ++t) workers[t] = std::thread(work, t);
  work(0);
  for (int t = 1; t < threads; ++t) workers[t].join();
#elif defined(_OPENMP)
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < tasks; ++i) task(i, thread);
  }
#else
  for (int64_t i = 0; i < tasks; ++i) task(i, 0);
#endif
}

// The number of threads to use for `work` units, if one thread does `per_thread` units in about 20 microseconds.
inline int worthwhile_threads(int threads, int64_t work, int64_t per_thread) {
  const int64_t most = work / per_thread;
  return most < 1 ? 1 : most < threads ? static_cast<int>(most) : threads;
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Uninitialised 64-byte aligned memory for one call. `data` is null if the allocation failed.
template <class T>
struct Scratch {
  T* data;
  explicit Scratch(int64_t count)
      : data(static_cast<T*>(aligned_alloc(64, static_cast<size_t>(ceil_div(count * static_cast<int64_t>(sizeof(T)) + 1, 64) * 64)))) {}
  ~Scratch() { free(data); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

}  // namespace
